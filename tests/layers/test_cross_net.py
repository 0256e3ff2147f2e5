"""The cross network against its formula in numpy, and its plain form against FuxiCTR's CrossNetV2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuxictr.pytorch.layers import CrossNetV2

from fuxictr_qnn.layers import CrossNet

FORMULAS = {
    "relu": lambda v: np.maximum(v, 0),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "none": lambda v: v,
}


def double(*args, **kwargs) -> CrossNet:
    torch.manual_seed(3)
    return CrossNet(*args, **kwargs).double()


def written_out(net: CrossNet, x: np.ndarray, activation: str, batch_norm: str) -> np.ndarray:
    """X_{l+1} = X_1 * act(BN(W_l X_l + b_l)) + X_l; `batch_norm` names the statistics it uses."""
    out = x
    for linear, norm in zip(net.cross_layers, net.norms, strict=True):
        z = out @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        if batch_norm != "off":
            mean, var = z.mean(axis=0), z.var(axis=0)
            if batch_norm == "running":
                mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
            gain, shift = norm.weight.detach().numpy(), norm.bias.detach().numpy()
            z = (z - mean) / np.sqrt(var + norm.eps) * gain + shift
        out = x * FORMULAS[activation](z) + out
    return out


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("batch_norm", ["off", "batch", "running"])
def test_values_are_the_formula(activation, batch_norm):
    net = double(5, 3, activation, batch_norm != "off").train(batch_norm == "batch")
    for norm in net.norms if batch_norm != "off" else []:
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            torch.nn.init.uniform_(values, 0.5, 1.5)
    x = torch.randn(7, 5, dtype=torch.float64)
    expected = written_out(net, x.numpy(), activation, batch_norm)
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_float32_is_the_formula():
    net = double(5, 3)
    x = torch.randn(7, 5, dtype=torch.float64)
    expected = written_out(net, x.numpy(), "relu", "off")
    np.testing.assert_allclose(net.float()(x.float()).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients(batch_norm):
    net = double(3, 2, "sigmoid", batch_norm)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    names = [name for name, _ in net.named_parameters()]

    def output(x, *values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(output, (x, *weights), rtol=1e-6, atol=1e-9)


def test_dropout_scales_what_it_keeps():
    """With the identity as activation, X_2 - X_1 is X_1 * z / 0.75 or 0, a quarter of it 0."""
    net = double(50, 1, "none", dropout=0.25)
    x = torch.randn(400, 50, dtype=torch.float64)
    factor = ((net(x) - x) / (x * net.cross_layers[0](x))).detach()
    kept = factor.abs() > 1e-6
    torch.testing.assert_close(factor[kept], torch.full_like(factor[kept], 1 / 0.75), rtol=1e-6, atol=0)
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(net.eval()(x), x * net.cross_layers[0](x) + x)


def test_passes_are_independent_forwards():
    net = double(6, 2, dropout=0.5)
    x = torch.randn(8, 6, dtype=torch.float64)
    torch.manual_seed(5)
    first, second = net.passes(x, 2)
    torch.manual_seed(5)
    assert torch.equal(first, net(x)) and torch.equal(second, net(x))
    assert not torch.equal(first, second)


def test_running_statistics_move_with_every_pass():
    net, twice = double(6, 2, batch_norm=True), double(6, 2, batch_norm=True)
    x = torch.randn(8, 6, dtype=torch.float64)
    net.passes(x, 2)
    twice(x), twice(x)
    assert net.norms[0].num_batches_tracked == 2
    torch.testing.assert_close(net.state_dict(), twice.state_dict())


def test_without_extras_it_is_the_cross_network_of_dcnv2():
    net, theirs = double(6, 3, "none"), CrossNetV2(6, 3).double()
    theirs.load_state_dict(net.state_dict())
    x = torch.randn(8, 6, dtype=torch.float64)
    torch.testing.assert_close(net(x), theirs(x), rtol=1e-12, atol=0)
    first, second = net.passes(x, 2)
    assert first is second  # nothing random: computed once


@pytest.mark.parametrize(
    ("batch_norm", "expected"), [(False, 4 * (10 * 10 + 10)), (True, 4 * (10 * 10 + 30))]
)
def test_parameter_count(batch_norm, expected):
    assert sum(p.numel() for p in CrossNet(10, 4, batch_norm=batch_norm).parameters()) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_layers": 0}, "at least 1, got 0"),
        ({"activation": "rleu"}, "unknown mid-activation 'rleu'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_sizes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        CrossNet(4, **wrong)
