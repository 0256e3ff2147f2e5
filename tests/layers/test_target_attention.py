"""Target attention against its formula in numpy, folded against plain, rows of a table against a tensor."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import ATTENTIONS, AdaptiveSparseTargetAttention, MeanPooling
from fuxictr_qnn.layers.history import Sequence, TableRows
from tests.written_out import check_gradients, relu

B, S, D, A, U = 5, 6, 4, 8, 9


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def softmax(scores, mask):
    if not mask.any():
        return np.zeros_like(scores)
    e = np.where(mask, np.exp(scores), 0)
    return e / e.sum()


WEIGHTS = {
    "relu": lambda s, mask: relu(s * mask),
    "relu2": lambda s, mask: relu(s * mask) ** 2,
    "silu": lambda s, mask: s * mask * sigmoid(s * mask),
    "softmax": softmax,
}


def arrays(layer):
    return {name: p.detach().double().numpy() for name, p in layer.named_parameters()}


def written_out(w, target, sequence, mask, activation, heads=1, normalize=False):
    """One row, one head and one item at a time: o = W_o (sum_s a_s v_s) + t."""
    out, part = [], A // heads
    for b in range(len(target)):
        q, pooled = w["W_q.weight"] @ target[b], []
        for h in range(heads):
            own = slice(h * part, (h + 1) * part)
            keys, values = ((w[f"W_{name}.weight"] @ sequence[b].T)[own] for name in "kv")
            weights = WEIGHTS[activation](q[own] @ keys / math.sqrt(part), mask[b])
            pooled.append(values @ (weights / max(mask[b].sum(), 1) if normalize else weights))
        out.append(w["W_o.weight"] @ np.concatenate(pooled) + target[b] + w.get("W_o.bias", 0))
    return np.array(out)


def example(dtype=torch.float64):
    """Targets, a table, histories as rows of it: full, left-padded, of one item, and empty."""
    generator = np.random.default_rng(0)
    target, table = generator.normal(size=(B, D)), generator.normal(size=(U, D))
    index = generator.integers(1, U, size=(B, S))
    index[1, :3] = index[2, :-1] = index[3] = 0
    index[4, 1] = index[4, 0]  # the same item twice
    mask = index != 0
    return [torch.tensor(x, dtype=dtype) for x in (target, table)] + [torch.tensor(x) for x in (index, mask)]


def layer_of(dtype=torch.float64, **kwargs):
    torch.manual_seed(0)
    return AdaptiveSparseTargetAttention(D, A, **kwargs).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_heads": 2}, {"normalize": True}, {"output_bias": True}])
@pytest.mark.parametrize("activation", sorted(ATTENTIONS))
def test_equals_the_written_out_formula(activation, options, fast, dtype, tolerance):
    layer = layer_of(dtype, activation=activation, fast=fast, **options)
    if layer.W_o.bias is not None:
        torch.nn.init.normal_(layer.W_o.bias)
    target, table, index, mask = example(dtype)
    expected = written_out(
        arrays(layer),
        target.double().numpy(),
        table.double().numpy()[index],
        mask.numpy(),
        activation,
        options.get("num_heads", 1),
        options.get("normalize", False),
    )
    for out in (layer(target, table[index], mask), layer.from_table(target, table, index, mask)):
        np.testing.assert_allclose(out.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_heads": 2}, {"normalize": True}, {"output_bias": True}])
@pytest.mark.parametrize("activation", sorted(ATTENTIONS))
def test_gradients_are_those_of_the_written_out_formula(activation, options, fast):
    layer = layer_of(activation=activation, fast=fast, **options)
    target, table, index, mask = example()
    how = (options.get("num_heads", 1), options.get("normalize", False))

    def formula(w):
        return written_out(w, w["target"], w["table"][index], mask.numpy(), activation, *how)

    inputs = {"target": target.requires_grad_(), "table": table.requires_grad_()}
    out = layer.from_table(target, table, index, mask)
    check_gradients(out, inputs | dict(layer.named_parameters()), formula)


@pytest.mark.parametrize("options", [{}, {"num_heads": 4}, {"normalize": True}, {"output_bias": True}])
@pytest.mark.parametrize("activation", sorted(ATTENTIONS))
def test_fast_and_plain_have_the_same_values_and_gradients(activation, options):
    target, table, index, mask = example()
    results = []
    for fast in (True, False):
        for by_table in (True, False):
            layer = layer_of(activation=activation, fast=fast, **options)
            t, x = target.clone().requires_grad_(), table.clone().requires_grad_()
            out = layer.from_table(t, x, index, mask) if by_table else layer(t, x[index], mask)
            (out**3).sum().backward()
            results.append([out, t.grad, x.grad, *(p.grad for p in layer.parameters())])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("by_table", [True, False])
@pytest.mark.parametrize("activation", ["relu", "softmax", "silu"])
def test_gradients_against_finite_differences(activation, by_table):
    target, table, index, mask = example()
    layer = layer_of(activation=activation)

    def out(t, x):
        return layer.from_table(t, x, index, mask) if by_table else layer(t, x[index], mask)

    assert torch.autograd.gradcheck(out, (target.requires_grad_(), table.requires_grad_()))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("activation", sorted(ATTENTIONS))
def test_an_empty_history_gives_the_target_and_finite_gradients(activation, fast):
    target, table, index, mask = example()
    layer = layer_of(activation=activation, fast=fast)
    table.requires_grad_()
    out = layer.from_table(target, table, index, mask)
    torch.testing.assert_close(out[3], target[3])
    out.sum().backward()
    assert torch.isfinite(table.grad).all()
    assert not table.grad[0].any()  # padding learns nothing


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("activation", sorted(ATTENTIONS))
def test_what_is_masked_does_not_matter(activation, fast):
    target, table, index, mask = example()
    layer = layer_of(activation=activation, fast=fast)
    other = torch.where(mask.unsqueeze(-1), table[index], 7.0)
    torch.testing.assert_close(layer(target, table[index], mask), layer(target, other, mask.int()))


@pytest.mark.parametrize("fast", [True, False])
def test_dropout_is_on_the_weights_and_off_at_evaluation(fast):
    target, table, index, mask = example()
    layer = layer_of(dropout=0.5, fast=fast).train()
    exact = layer.eval().from_table(target, table, index, mask)
    layer.train()
    torch.manual_seed(1)
    mean = torch.stack([layer.from_table(target, table, index, mask) for _ in range(4000)]).mean(0)
    assert not torch.equal(layer.from_table(target, table, index, mask), exact)
    torch.testing.assert_close(mean, exact, rtol=0.1, atol=0.1)


def test_mean_pooling():
    target, table, index, mask = example()
    expected = np.stack(
        [table[i[m]].sum(0).numpy() / max(int(m.sum()), 1) for i, m in zip(index, mask, strict=True)]
    )
    for out in (
        MeanPooling()(target, table[index], mask),
        MeanPooling().from_table(target, table, index, mask),
    ):
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-12)
    assert not MeanPooling()(target, table[index], mask)[3].any()


def test_published_number_of_weights():
    """Item block 384, attention width 768: 1,179,648 weights without a bias."""
    layer = AdaptiveSparseTargetAttention(384, 768)
    assert sum(p.numel() for p in layer.parameters()) == 1_179_648
    assert [name for name, _ in layer.named_parameters()] == [f"W_{name}.weight" for name in "qkvo"]


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_rows_of_a_table_behave_as_the_tensor(heads, dtype):
    _, table, index, _ = example()
    query, weights = (torch.randn(B, heads, n, dtype=torch.float64, requires_grad=True) for n in (D, S))
    x = table.requires_grad_()
    by_table, plain = TableRows(x, index.to(dtype)), Sequence(x[index])
    for name, argument in (("scores", query), ("weighted_sum", weights)):
        a, b = getattr(by_table, name)(argument), getattr(plain, name)(argument)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        noise = torch.randn_like(a)
        for g, h in zip(
            *(torch.autograd.grad(y, (argument, x), noise, retain_graph=True) for y in (a, b)), strict=True
        ):
            torch.testing.assert_close(g, h, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda q, t: TableRows(t, index).scores(q), (query, x))
    assert torch.autograd.gradcheck(lambda w, t: TableRows(t, index).weighted_sum(w), (weights, x))


@pytest.mark.parametrize("shape", [(1, S), (0, S), (B, 0)])
def test_one_row_no_rows_and_histories_of_no_length(shape):
    target, table, _, _ = example()
    index = torch.zeros(shape, dtype=torch.int32)
    layer, x = layer_of(), table.requires_grad_()
    out = layer.from_table(target[: shape[0]], x, index, index != 0)
    out.sum().backward()
    torch.testing.assert_close(out, target[: shape[0]])


@pytest.mark.parametrize("row", [-1, U])
def test_a_row_outside_the_table_is_refused(row):
    _, table, index, _ = example()
    index[0, 0] = row
    with pytest.raises(ValueError, match=f"of a table of {U} items"):
        TableRows(table, index)


@pytest.mark.parametrize("times", [1, 3])  # histories shorter and longer than the table
def test_bfloat16_under_autocast(times):
    target, table, index, mask = example(torch.float32)
    index, mask = index.repeat(1, times), mask.repeat(1, times)
    layer = layer_of(torch.float32)
    exact = layer.from_table(target, table, index, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = layer.from_table(target, table.requires_grad_(), index, mask)
        rough.float().sum().backward()
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_heads": 3}, "num_heads=3 does not divide attention_dim=8"),
        ({"num_heads": 0}, "num_heads must be at least 1"),
        ({"activation": "sigmoid"}, "unknown attention 'sigmoid'; known: relu, softmax, relu2, silu"),
        ({"dropout": 1.0}, r"in \[0, 1\)"),
    ],
)
def test_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        AdaptiveSparseTargetAttention(D, A, **kwargs)
