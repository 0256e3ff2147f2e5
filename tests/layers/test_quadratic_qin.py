"""The quadratic layer and network of QIN against their formulas in numpy, and fast against plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import QuadraticLayerQIN, QuadraticNetworkQIN
from tests.written_out import batch_norm, check_gradients, relu

MID = {"none": lambda v: v, "relu": relu}


def rows_times_input(w, x, mid="none", name="linear"):
    """sum_m x * act(W_m x + b_m), one row of W at a time."""
    weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
    width = x.shape[1]
    rows = [slice(m * width, (m + 1) * width) for m in range(len(weight) // width)]
    return sum(x * MID[mid](x @ weight[own].T + bias[own]) for own in rows)


def arrays(module):
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def network_written_out(w, x, training, mid="none"):
    """Linear, product, batch norm, PReLU, residual; statistics of the batch in training, kept ones else."""
    for i in range(sum(name.startswith("layers") for name in w) // 2):
        y = batch_norm(w, f"norms.{i}", rows_times_input(w, x, mid, f"layers.{i}.linear"), training)
        x = x + np.where(y.real > 0, y, w[f"activations.{i}.weight"] * y)
    return x


def double(cls, *args, **kwargs):
    torch.manual_seed(0)
    return cls(*args, **kwargs).double()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("mid", ["none", "relu"])
@pytest.mark.parametrize("rows", [1, 3])
def test_layer_equals_the_written_out_formula(rows, mid, fast, training, dtype, tolerance):
    layer = double(QuadraticLayerQIN, 6, rows, mid_activation=mid, fast=fast).to(dtype).train(training)
    x = np.random.default_rng(1).normal(size=(5, 6))
    out = layer(torch.tensor(x, dtype=dtype)).detach().numpy()
    np.testing.assert_allclose(out, rows_times_input(arrays(layer), x, mid), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mid", ["none", "relu", "gelu"])
def test_fast_and_plain_have_the_same_values_and_gradients(mid):
    x, results = torch.randn(7, 6, dtype=torch.float64), []
    for fast in (True, False):
        network = double(QuadraticNetworkQIN, 6, 2, 3, dropout=0.0, mid_activation=mid, fast=fast)
        inputs = x.clone().requires_grad_()
        outputs = network.passes(inputs, 2)
        sum((i + 1) * (out**2).sum() for i, out in enumerate(outputs)).backward()
        results.append([*outputs, inputs.grad, *(p.grad for p in network.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("fast", [True, False])
def test_gradients_against_finite_differences_with_dropout(fast):
    layer = double(QuadraticLayerQIN, 4, 3, dropout=0.4, fast=fast)

    def out(x):
        torch.manual_seed(3)  # the same masks at every call
        return layer(x)

    assert torch.autograd.gradcheck(out, (torch.randn(5, 4, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize("fast", [True, False])
def test_dropout_is_on_the_projections_and_unbiased(fast):
    layer = double(QuadraticLayerQIN, 4, 2, dropout=0.5, fast=fast)
    torch.nn.init.normal_(layer.linear.bias)
    x = torch.randn(1, 4, dtype=torch.float64)
    exact = layer.eval()(x)
    outputs = layer.train()(x.expand(100_000, 4))
    torch.testing.assert_close(outputs.mean(0, keepdim=True), exact, rtol=0.05, atol=0.02)
    assert outputs[:, 0].round(decimals=9).unique().numel() == 4  # each of the two rows is there or not


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_network_has_the_authors_order_of_operations(training, fast):
    network = double(QuadraticNetworkQIN, 6, 2, 3, dropout=0.0, fast=fast)
    for norm, activation in zip(network.norms, network.activations, strict=True):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var, activation.weight):
            tensor.data.uniform_(0.3, 1.5)
    x, w = torch.randn(8, 6, dtype=torch.float64, requires_grad=True), arrays(network)
    w = {name: value.copy() for name, value in w.items()}  # the running statistics are about to move
    out = network.train(training)(x)
    expected = network_written_out(w, x.detach().numpy(), training)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    check_gradients(
        out,
        {"x": x} | dict(network.named_parameters()),
        lambda moved: network_written_out(w | moved, moved["x"], training),
    )


@pytest.mark.parametrize("fast", [True, False])
def test_passes_differ_in_their_dropout_only(fast):
    network = double(QuadraticNetworkQIN, 6, 2, 3, dropout=0.3, fast=fast)
    x = torch.randn(20, 6, dtype=torch.float64)
    first, second = network.passes(x, 2)
    assert not torch.equal(first, second)
    first, second = network.eval().passes(x, 2)
    assert torch.equal(first, second)


def test_post_activations():
    x = torch.randn(9, 4, dtype=torch.float64)
    outputs = {
        name: double(QuadraticNetworkQIN, 4, 1, 2, 0.0, activation=name)(x)
        for name in ("relu", "prelu", "none")
    }
    after = {name: out - x for name, out in outputs.items()}
    torch.testing.assert_close(after["relu"], after["none"].clamp_min(0))
    torch.testing.assert_close(
        after["prelu"], torch.where(after["none"] > 0, after["none"], 0.25 * after["none"])
    )


def test_number_of_weights():
    for layers, rows, width in [(4, 4, 1024), (2, 3, 10)]:
        network = QuadraticNetworkQIN(width, layers, rows)
        expected = layers * (rows * width * width + rows * width + 2 * width + 1)
        assert sum(p.numel() for p in network.parameters()) == expected


def test_one_row():
    network = QuadraticNetworkQIN(4, 2, 2)
    assert network.eval()(torch.randn(1, 4)).shape == (1, 4)
    with pytest.raises(ValueError, match="more than 1 value"):
        network.train()(torch.randn(1, 4))
    assert QuadraticNetworkQIN(4, 2, 2, batch_norm=False).train()(torch.randn(1, 4)).shape == (1, 4)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_rows": 0}, "num_rows must be at least 1"),
        ({"activation": "swish"}, "unknown activation 'swish'; known: prelu, relu"),
        ({"mid_activation": "prelu"}, "unknown mid-activation 'prelu'; known: relu"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        QuadraticNetworkQIN(4, **kwargs)
