"""Every neuron format against its formula in numpy, its gradients against the formula's, by complex steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import NEURON_FORMATS, QuadraticForm, QuadraticNeuron

D = 8
rng = np.random.default_rng(5)


def relu(v):
    return np.where(v.real > 0, v, 0)


def form(w, x):  # x^T W_o x for every o
    return np.einsum("bi,oij,bj->bo", x, w, x)


def halves(h):
    return h[:, : D // 2], h[:, D // 2 :]


def t11(x, a):
    first, second = halves(a(x))
    return np.hstack([first, second**2])


def t12(x, a, b):
    first, second = halves(a(x))
    return np.hstack([first * second, b(x**2)])


def t13(x, a):
    h = a(x)
    return np.hstack([h[:, : D // 2] * h[:, D // 2 : D], h[:, D:]])


def t14(x, a):
    first, second = halves(a(x))
    return np.hstack([first * second, second])


# name -> (x, a, b, c) -> (B, D); a, b, c are affine maps, or quadratic forms, or a scale
FORMULAS = {
    "T1": lambda x, a, b: a(x) + b(x),
    "T2": lambda x, a: a(x),
    "T3": lambda x, a: a(x**2),
    "T4": lambda x, a: a(x) ** 2,
    "T5": lambda x, a, b: a(x) * b(x),
    "T6": lambda x, a, b: a(x) + b(x**2),
    "T7": lambda x, a, b, c: a(x) * b(x) + c(x**2),
    "T8": lambda x, a, b, c: a(x) * b(x) + c(x),
    "T9": lambda x, a: x * a(x) + x,
    "T10": lambda x, a, b: x * a(x) + b(x),
    "T11": t11,
    "T12": t12,
    "T13": t13,
    "T14": t14,
    "T15": lambda x, a: np.hstack([a(x) ** 2, a(x)]),
    "T16": lambda x, a, b: x * (a(x) * b(x)) + x,
    "T17": lambda x, a, b: x * (a(x) + b(x)) + x,
    "T17_code": lambda x, a, b: x * a(x) + b(x) + x,
    "T18": lambda x, a, b: b(np.hstack([x * a(x), x])),
    "T19": lambda x, a: x * relu(a(x)) + x,
    "T20": lambda x, a: x * a(x) + a(x) + x,
    "T21": lambda x, a: (x * a(x)) ** 2 + x,
    "T22": lambda x, a, b: x * a(x) + b(x),
    "T23": lambda x, a, b: a(x) * b(x) + x,
    "T24": lambda x, a, b: a(x) * relu(b(x)) + x,
    "T25": lambda x, a, b: x * a(relu(b(x))) + x,
    "T26": lambda x, a, b: (relu(a(x)) * x + relu(b(x)) * x) / 2 + x,
    "T27": lambda x, a, b: (relu(a(x)) * x**2 + relu(b(x)) * x**2) / 2 + x,
    "T28": lambda x, a, b: (relu(a(x)) ** 2 * x + relu(b(x)) ** 2 * x) / 2 + x,
    "T29": lambda x, a, b: (relu(a(x)) * x + relu(b(x)) ** 2 * x) / 2 + x,
    "T30": lambda x, a, b: (relu(a(x)) * x + relu(b(x)) * x**2) / 2 + x,
}


def as_numpy(weight, bias=None):
    """A projection with these weights as a function of numpy arrays."""
    if weight.ndim == 1:
        return lambda x: weight * x
    if weight.ndim == 3:
        return lambda x: form(weight, x) + bias
    return lambda x: x @ weight.T + bias


def neuron(name: str) -> QuadraticNeuron:
    torch.manual_seed(3)
    layer = QuadraticNeuron(name, D)
    for parameter in layer.parameters():
        parameter.data.normal_(std=0.5)
    return layer


def weights_of(layer: QuadraticNeuron) -> list[list[np.ndarray]]:
    """Weight and bias of each projection."""
    return [[p.detach().double().numpy() for p in module.parameters()] for module in layer.projections]


def formula(name: str, weights: list[list[np.ndarray]], x: np.ndarray) -> np.ndarray:
    return FORMULAS[name](x, *(as_numpy(*of_one) for of_one in weights))


def test_every_format_of_the_paper_is_there():
    assert set(NEURON_FORMATS) == {f"T{i}" for i in range(1, 31)} | {"T17_code"} == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equals_the_formula(name, dtype, tolerance):
    layer, x = neuron(name), rng.normal(size=(6, D))
    x = x.astype(np.float32).astype(float)  # the same numbers in both precisions
    out = layer.to(dtype)(torch.tensor(x, dtype=dtype)).detach().double().numpy()
    expected = formula(name, weights_of(layer), x)
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_that_of_the_formula(name):
    """The slope of the written-out formula along a direction, f'(w) d = Im f(w + i h d) / h."""
    layer = neuron(name).double()
    x, direction = rng.normal(size=(2, 4, D))
    probe = rng.normal(size=(4, D))
    point = torch.tensor(x, requires_grad=True)
    (layer(point) * torch.tensor(probe)).sum().backward()

    def slope(weights, at):
        return (formula(name, weights, at).imag * probe).sum() / 1e-30

    weights = weights_of(layer)
    assert (point.grad.numpy() * direction).sum() == pytest.approx(
        slope(weights, x + 1e-30j * direction), rel=1e-10, abs=1e-11
    )
    for of_one, module in zip(weights, layer.projections, strict=True):
        for i, parameter in enumerate(module.parameters()):
            kept, change = of_one[i], rng.normal(size=parameter.shape)
            of_one[i] = kept + 1e-30j * change
            assert (parameter.grad.numpy() * change).sum() == pytest.approx(
                slope(weights, x), rel=1e-10, abs=1e-11
            )
            of_one[i] = kept


@pytest.mark.parametrize("name", FORMULAS)
def test_gradcheck(name):
    layer = neuron(name).double()
    x = torch.tensor(rng.normal(size=(3, D)), requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("width", [1, 5, 16, 40])
def test_quadratic_form_is_torchs_bilinear(width):
    torch.manual_seed(1)
    ours, theirs = QuadraticForm(width, 7).double(), torch.nn.Bilinear(width, width, 7).double()
    theirs.load_state_dict(ours.state_dict())
    x1 = torch.randn(9, width, dtype=torch.float64, requires_grad=True)
    x2 = x1.detach().clone().requires_grad_()
    weights = torch.randn(9, 7, dtype=torch.float64)
    (ours(x1) * weights).sum().backward()
    (theirs(x2, x2) * weights).sum().backward()
    torch.testing.assert_close(ours(x1), theirs(x2, x2), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(x1.grad, x2.grad, rtol=1e-10, atol=1e-12)
    # nn.Bilinear's weight gradient x_i x_j is symmetric already, and so is ours
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-10, atol=1e-12)


def test_quadratic_form_starts_as_torchs_bilinear():
    torch.manual_seed(1)
    bound = 1 / np.sqrt(50)
    for parameter in QuadraticForm(50, 40).parameters():
        assert 0.95 * bound < parameter.abs().max() <= bound


@pytest.mark.parametrize("name", ["T11", "T12", "T13", "T14", "T15", "T25"])
def test_an_odd_width_is_refused_where_halves_are_needed(name):
    with pytest.raises(ValueError, match=f"{name} .* works on halves of its input, whose width 7 is odd"):
        QuadraticNeuron(name, 7)


def test_an_odd_width_will_do_elsewhere():
    assert QuadraticNeuron("T9", 7)(torch.randn(2, 7)).shape == (2, 7)


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown neuron_type 'T17code'\. Did you mean 'T17_code'"):
        QuadraticNeuron("T17code", 8)
