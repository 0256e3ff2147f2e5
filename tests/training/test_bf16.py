import pytest
import torch
from torch import nn

from fuxictr_qnn.training import bf16
from fuxictr_qnn.training.bf16 import ProductsInFloat32, bf16_products, mixed_precision

CPU = torch.device("cpu")


def rounded_once(exact: torch.Tensor) -> torch.Tensor:
    """float64 to the nearest bfloat16, ties to even, by its bits: the upper half of a float32."""
    bits = exact.float().view(torch.int32)
    kept = bits + 0x7FFF + ((bits >> 16) & 1)
    return (kept & -0x10000).view(torch.float32)


def within_one_bit(found: torch.Tensor, exact: torch.Tensor) -> bool:
    """The order of the sum may turn the last of bfloat16's 8 bits, where products cancel also a bit more."""
    return bool(((found.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-5).all())


@pytest.mark.parametrize("operator", ["mm", "addmm", "bmm", "baddbmm"])
def test_products_are_rounded_once(operator):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator).bfloat16()

    batch = (3,) if operator in ("bmm", "baddbmm") else ()
    a, b, bias = draw(*batch, 50, 200), draw(*batch, 200, 30), draw(*batch, 50, 30)
    more = (bias,) if "add" in operator else ()
    exact = a.double() @ b.double() + (bias.double() if more else 0)
    with ProductsInFloat32():
        found = getattr(torch, operator)(*more, a, b)
    assert found.dtype == torch.bfloat16
    assert within_one_bit(found, exact)
    assert (found.float() == rounded_once(exact)).float().mean() > 0.99


def test_products_of_other_types_stay_as_they_are():
    a, b = torch.randn(4, 5), torch.randn(5, 6)
    with ProductsInFloat32():
        assert torch.equal(a @ b, torch.mm(a, b)) and (a @ b).dtype == torch.float32


@pytest.mark.parametrize(
    "amp, supported, slow", [("bf16", False, True), ("bf16", True, False), (None, False, False)]
)
def test_only_where_the_processor_cannot(monkeypatch, amp, supported, slow):
    monkeypatch.setattr(bf16, "has_bf16_products", lambda: supported)
    assert isinstance(bf16_products(CPU, amp), ProductsInFloat32) == slow
    assert not isinstance(bf16_products(torch.device("cuda"), amp), ProductsInFloat32)


@pytest.mark.parametrize("supported", [False, True])
def test_a_layer_and_its_gradients_under_mixed_precision(monkeypatch, supported):
    """Both ways give torch's autocast: bfloat16 of the products forward and backward, float32 gradients."""
    monkeypatch.setattr(bf16, "has_bf16_products", lambda: supported)
    torch.manual_seed(1)
    layer, x, out = nn.Linear(40, 20), torch.randn(30, 40), torch.randn(30, 20)
    with mixed_precision(CPU, "bf16"):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    with bf16_products(CPU, "bf16"):
        (y * out).sum().backward()
    w16, x16 = layer.weight.detach().bfloat16().double(), x.bfloat16().double()
    assert within_one_bit(y.detach(), x16 @ w16.T + layer.bias.detach().bfloat16().double())
    assert layer.weight.grad.dtype == torch.float32
    assert within_one_bit(layer.weight.grad, out.bfloat16().double().T @ x16)
