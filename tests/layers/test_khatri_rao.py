"""The Khatri-Rao layer against equation 10 written out in numpy, and its fast path against its plain one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.layers import ACTIVATIONS, KhatriRaoLayer
from fuxictr_qnn.layers._pooled_rows import pooled_rows
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.masks import keep_mask

erf = np.vectorize(math.erf)
FORMULAS = {
    "relu": lambda v: np.maximum(v, 0),
    "relu6": lambda v: np.clip(v, 0, 6),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "gelu": lambda v: v * 0.5 * (1 + erf(v / np.sqrt(2))),
    "mish": lambda v: v * np.tanh(np.log1p(np.exp(v))),
    "none": lambda v: v,
}


def equation_10(x, weight, bias, rows, heads, fields, layout, activation, residual=True, khatri_rao=True):
    """Psi(X^h) = sum_m X^h * act(W_m^h X + b_m^h) + X^h, one row and one head at a time."""
    batch, width = x.shape
    part = width // fields // heads
    out = np.zeros_like(x)
    # the coordinates of X that head h owns: its part of each field's embedding
    owned = [
        np.array([f * (width // fields) + h * part + e for f in range(fields) for e in range(part)])
        for h in range(heads)
    ]
    for b in range(batch):
        for h in range(heads):
            own = x[b, owned[h]]
            factor = own if khatri_rao else np.ones_like(own)
            product = np.zeros(width // heads)
            for m in range(rows):
                if layout == "block":
                    lines = slice(m * len(own), (m + 1) * len(own))
                    product += factor * FORMULAS[activation](weight[h][lines] @ own + bias[h][lines])
                else:
                    start = (h * rows + m) * len(own)
                    lines = slice(start, start + len(own))
                    product += factor * FORMULAS[activation](weight[lines] @ x[b] + bias[lines])
            if layout == "reference":  # products head after head, the residual in the order of the fields
                out[b, h * len(own) : (h + 1) * len(own)] = product
            else:
                out[b, owned[h]] = product
    return out + x if residual else out


def double_layer(*args, **kwargs) -> KhatriRaoLayer:
    torch.manual_seed(0)
    return KhatriRaoLayer(*args, **kwargs).double()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("layout", ["reference", "aligned", "block"])
@pytest.mark.parametrize(("rows", "heads", "fields"), [(1, 1, 1), (3, 1, 2), (2, 2, 3), (4, 4, 1)])
def test_equals_the_written_out_formula(layout, rows, heads, fields, fast):
    layer = double_layer(fields * 8, rows, heads, fields, layout, fast=fast)
    x = np.random.default_rng(1).normal(size=(5, fields * 8))
    weight, bias = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    written = "reference" if heads == 1 else layout
    expected = equation_10(x, weight, bias, rows, heads, fields, written, "relu")
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("fast", [True, False])
def test_every_mid_activation(activation, fast):
    layer = double_layer(8, 2, activation=activation, fast=fast)
    x = np.random.default_rng(2).normal(size=(4, 8)) * 2
    expected = equation_10(
        x,
        layer.linear.weight.detach().numpy(),
        layer.linear.bias.detach().numpy(),
        2,
        1,
        1,
        "reference",
        activation,
    )
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("parts", [{"residual": False}, {"khatri_rao": False}])
@pytest.mark.parametrize("layout", ["reference", "aligned"])
@pytest.mark.parametrize("fast", [True, False])
def test_without_a_part_of_the_layer(parts, layout, fast):
    layer = double_layer(12, 3, 2, 3, layout, fast=fast, **parts)
    x = np.random.default_rng(3).normal(size=(5, 12))
    weight, bias = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    expected = equation_10(x, weight, bias, 3, 2, 3, layout, "relu", **parts)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_aligned_heads_compute_what_one_head_computes():
    many, one = double_layer(12, 3, 2, 3, "aligned"), double_layer(12, 3, 1, 3)
    # rows of W: (head, row, field, part) -> (row, field, head, part)
    order = np.arange(36).reshape(2, 3, 3, 2).transpose(1, 2, 0, 3).ravel()
    with torch.no_grad():
        one.linear.weight.copy_(many.linear.weight[order])
        one.linear.bias.copy_(many.linear.bias[order])
    x = torch.randn(7, 12, dtype=torch.float64)
    torch.testing.assert_close(many(x), one(x), rtol=1e-12, atol=1e-12)


def test_weights_and_multiplications_of_the_layouts():
    width, rows = 16, 3
    dense = sum(p.numel() for p in KhatriRaoLayer(width, rows, 4).parameters())
    block = sum(p.numel() for p in KhatriRaoLayer(width, rows, 4, head_layout="block").parameters())
    assert dense == rows * width * width + rows * width
    assert block == rows * width * width // 4 + rows * width


def test_block_layout_is_the_aligned_one_with_block_diagonal_weights():
    block, dense = double_layer(12, 2, 3, 2, "block"), double_layer(12, 2, 3, 2, "aligned")
    owned = np.arange(12).reshape(2, 3, 2).transpose(1, 0, 2).reshape(3, 4)
    with torch.no_grad():
        dense.linear.weight.zero_()
        for h in range(3):
            dense.linear.weight[h * 8 : (h + 1) * 8, owned[h]] = block.linear.weight[h]
        dense.linear.bias.copy_(block.linear.bias.flatten())
    x = torch.randn(7, 12, dtype=torch.float64)
    torch.testing.assert_close(block(x), dense(x), rtol=1e-12, atol=1e-12)


def paired(fast_kwargs, width=12, rows=3, seed=0):
    """A fast and a plain layer with the same weights and statistics that are not the initial ones."""
    fast, plain = (
        double_layer(width, rows, fast=True, **fast_kwargs),
        double_layer(width, rows, fast=False, **fast_kwargs),
    )
    if fast.bn is not None:
        torch.manual_seed(seed)
        for tensor in (fast.bn.weight, fast.bn.bias, fast.bn.running_mean, fast.bn.running_var):
            tensor.data.uniform_(0.5, 1.5)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu", "none"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_heads": 2, "num_fields": 3},
        {"num_heads": 2, "head_layout": "block"},
        {"batch_norm": True},
        {"residual": False},
        {"khatri_rao": False},
    ],
)
def test_fast_path_gives_values_gradients_and_running_statistics(options, activation, training, count):
    fast, plain = paired({"activation": activation, **options})
    x = torch.randn(9, 12, dtype=torch.float64)
    results = []
    for layer in (fast, plain):
        layer.train(training)
        inputs = x.clone().requires_grad_()
        outputs = layer.passes(inputs, count)
        sum((i + 1) * (out**2).sum() for i, out in enumerate(outputs)).backward()
        results.append(
            (outputs, inputs.grad, {n: p.grad for n, p in layer.named_parameters()}, layer.state_dict())
        )
    (out_a, dx_a, grads_a, state_a), (out_b, dx_b, grads_b, state_b) = results
    for a, b in zip(out_a, out_b, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dx_a, dx_b, rtol=1e-9, atol=1e-9)
    for name in grads_a:
        torch.testing.assert_close(grads_a[name], grads_b[name], rtol=1e-9, atol=1e-8)
    for name in state_a:
        torch.testing.assert_close(state_a[name], state_b[name], rtol=1e-9, atol=1e-10)


def test_running_statistics_move_as_separate_passes_move_them():
    shared, separate = paired({"batch_norm": True})
    x = torch.randn(20, 12, dtype=torch.float64)
    shared.passes(x, 2)
    for _ in range(2):
        separate(x)
    torch.testing.assert_close(shared.bn.running_mean, separate.bn.running_mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(shared.bn.running_var, separate.bn.running_var, rtol=1e-10, atol=1e-12)
    assert shared.bn.num_batches_tracked == separate.bn.num_batches_tracked == 2


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_of_the_fused_dropout_against_finite_differences(relu, dropout, passes):
    z = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)

    def pooled(values):
        torch.manual_seed(3)  # the same masks at every call
        return pooled_rows(values, relu, dropout, passes)

    assert torch.autograd.gradcheck(pooled, (z,))


def test_dropout_masks_are_bernoulli_and_independent_between_passes():
    rows, keep, n = 4, 0.9, 200_000
    torch.manual_seed(11)
    ones = torch.ones(n, rows, 1, dtype=torch.float64)
    s1, s2 = pooled_rows(ones, True, 1 - keep, passes=2)
    kept = [(s * keep).round().long().flatten().numpy() for s in (s1, s2)]
    probability = np.array([math.comb(rows, k) * keep**k * (1 - keep) ** (rows - k) for k in range(rows + 1)])
    for counts in kept:
        observed = np.bincount(counts, minlength=rows + 1)
        chi2 = ((observed - n * probability) ** 2 / (n * probability)).sum()
        assert chi2 < 23.5  # 4 degrees of freedom: exceeded with probability 1e-4
    assert abs(np.corrcoef(*kept)[0, 1]) < 4 / math.sqrt(n)


@given(st.floats(0.0, 0.95), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_mask_keeps_what_its_exact_probability_says(dropout, seed):
    torch.manual_seed(seed)
    mask, keep = keep_mask((100, 200), 1 - dropout, torch.device("cpu"))
    assert abs(keep - (1 - dropout)) <= 2**-16
    assert abs(mask.double().mean().item() - keep) <= 5 * math.sqrt(keep * (1 - keep) / 20_000) + 1e-12


def test_dropout_module_is_unbiased_reproducible_and_off_at_evaluation():
    layer, x = Dropout(0.25), torch.ones(1000, 100)
    torch.manual_seed(5)
    first = layer(x)
    torch.manual_seed(5)
    assert torch.equal(first, layer(x))
    assert first.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


def test_no_rows_at_evaluation():
    assert KhatriRaoLayer(4, 2).eval()(torch.empty(0, 4)).shape == (0, 4)


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_input_under_autocast(training):
    """The layer before may have given bfloat16; statistics and weights stay in float32."""
    torch.manual_seed(0)
    first, layer = torch.nn.Linear(8, 8), KhatriRaoLayer(8, 2, batch_norm=True)
    x = torch.randn(64, 8)
    exact = layer.train(training)(first(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = layer(first(x))
    assert layer.bn.running_mean.dtype == torch.float32
    assert (rough.float() - exact).abs().max() < 0.1 * exact.abs().max()


def test_one_row_in_training_goes_the_way_of_batch_norm():
    layer = KhatriRaoLayer(4, 2, batch_norm=True)
    with pytest.raises(ValueError, match="more than 1 value"):
        layer(torch.randn(1, 4))
    assert layer.eval()(torch.randn(1, 4)).shape == (1, 4)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_rows": 0}, "num_rows must be at least 1"),
        ({"num_fields": 5}, "not a multiple of num_fields=5"),
        ({"num_fields": 3, "num_heads": 3}, "num_heads=3 does not divide the embedding dim 4"),
        ({"head_layout": "heads"}, "unknown head_layout 'heads'; known: reference, aligned, block"),
        ({"activation": "tanhh"}, "unknown mid-activation 'tanhh'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_impossible_sizes_are_refused_in_plain_words(kwargs, words):
    with pytest.raises(ValueError, match=words):
        KhatriRaoLayer(12, **kwargs)


def test_a_wrong_input_shape_says_what_was_expected():
    with pytest.raises(ValueError, match=r"expects \(batch, 12\).*got \(2, 3, 4\)"):
        KhatriRaoLayer(12)(torch.zeros(2, 3, 4))
