"""The compiled rows give what NumPy and torch give: masks bit for bit, sums and gradients to rounding."""

from __future__ import annotations

import shutil

import pytest
import torch

from fuxictr_qnn.layers import _pooled_rows
from fuxictr_qnn.layers._pooled_rows import pooled_rows, row_products
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.masks import keep_mask
from fuxictr_qnn.layers.native import compiled, rows

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiled.COMPILERS)), reason="no C compiler on this machine"
)


@pytest.fixture
def without_compiler(monkeypatch):
    """A call makes `function` run as on a machine that has no compiler."""

    def call(function, *args):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "library", lambda: None)
            torch.manual_seed(5)
            return function(*args)

    return call


def with_seed(function, *args):
    torch.manual_seed(5)
    return function(*args)


@needs_compiler
@pytest.mark.parametrize("shape", [(33, 3, 7), (4, 1, 64), (130, 5, 16), (1, 2, 3)])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("passes", [1, 2])
def test_sums_and_masks_are_those_of_numpy(shape, relu, dropout, passes, without_compiler, monkeypatch):
    z = torch.randn(shape)
    for ours, theirs in zip(
        with_seed(pooled_rows, z, relu, dropout, passes),
        without_compiler(pooled_rows, z, relu, dropout, passes),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    if relu or dropout:
        seeds = [3, 4][:passes]
        masks = rows.pool(z, relu, round((1 - dropout) * 65536), seeds).masks
        for seed, mask in zip(seeds, masks, strict=True):
            monkeypatch.setattr("fuxictr_qnn.layers.masks.draw_seed", lambda seed=seed: seed)
            kept, _ = keep_mask(shape, 1 - dropout, z.device)
            assert torch.equal(mask, kept & (z > 0) if relu else kept)


@needs_compiler
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("dropouts", [(0.0, 0.0), (0.25, 0.0), (0.0, 0.25), (0.25, 0.4)])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("relu", [True, False])
def test_products_and_all_gradients(with_bias, moved, dropouts, passes, relu, without_compiler):
    def gradients():
        torch.manual_seed(2)
        z, x = torch.randn(50, 3, 9), torch.randn(50, 9)
        bias = torch.randn(27) if with_bias else None
        order = torch.randperm(9) if moved else None
        leaves = [t.requires_grad_() for t in (z, x, bias) if t is not None]
        outs = row_products(z, bias, x, order, relu, dropouts, passes)
        total = sum((out * torch.randn(50, 9)).sum() for out in outs)
        return [*outs, *torch.autograd.grad(total, leaves)]

    for ours, theirs in zip(gradients(), without_compiler(gradients), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@needs_compiler
def test_gradients_of_many_threads_repeat_themselves_bit_for_bit():
    """A resumed run ends as the uninterrupted one: the parts of the threads are added in one order."""
    torch.manual_seed(0)
    threads, (batch, depth, width) = torch.get_num_threads(), (2000, 2, 16)
    grad, sums, x = (torch.randn(batch, width) for _ in range(3))
    mask = torch.rand(batch, depth, width) < 0.5
    torch.set_num_threads(4)
    try:
        found = [rows.spread([grad], [mask], 0.5, [sums], x, with_bias=True) for _ in range(200)]
    finally:
        torch.set_num_threads(threads)
    for again in found[1:]:
        assert all(torch.equal(ours, first) for ours, first in zip(again, found[0], strict=True))


@needs_compiler
def test_the_written_out_product():
    z, x, bias, order = torch.randn(20, 4, 6), torch.randn(20, 6), torch.randn(24), torch.randperm(6)
    (out,) = row_products(z, bias, x, order, relu=True, dropouts=(0.0, 0.0))
    expected = x + x[:, order] * torch.relu(z + bias.view(4, 6)).sum(dim=1)
    torch.testing.assert_close(out, expected)


@needs_compiler
def test_outputs_are_dropped_at_their_own_rate_and_scaled():
    """Rows of zero leave x, of which dropout keeps 60 %, divided by 0.6; each pass draws its own."""
    x = torch.rand(500, 40) + 1
    outs = row_products(torch.zeros(500, 2, 40), None, x, None, True, (0.3, 0.4), 2)
    kept = [out != 0 for out in outs]
    for out, mask in zip(outs, kept, strict=True):
        torch.testing.assert_close(out[mask], (x / 0.6)[mask], rtol=1e-4, atol=0)
        assert mask.float().mean() == pytest.approx(0.6, abs=0.02)
    assert (kept[0] & kept[1]).float().mean() == pytest.approx(0.36, abs=0.02)


@needs_compiler
def test_values_that_are_not_finite_stay_visible():
    z = torch.zeros(5, 2, 3)
    z[1, 0, 2], z[3, 1, 1] = float("nan"), float("inf")
    (s,) = pooled_rows(z, True, 0.5)
    assert not s[1, 2].isfinite() and not s[3, 1].isfinite() and s[[0, 2, 4]].isfinite().all()


@needs_compiler
def test_dropout_drops_the_same_elements(without_compiler):
    for shape in [(64, 33), (17,), (5, 4, 3)]:
        x = torch.rand(shape) + 1
        layer = Dropout(0.3)
        assert torch.equal(with_seed(layer, x), without_compiler(layer, x))


def test_other_dtypes_and_views_are_left_to_torch():
    z = torch.randn(4, 3, 2)
    assert not compiled.usable(z.double()) and not compiled.usable(z.transpose(0, 1))
    assert _pooled_rows.pooled_rows(z.double(), True, 0.1)[0].dtype == torch.float64


def test_the_switch_and_a_missing_compiler(monkeypatch):
    compiled.library.cache_clear()
    monkeypatch.setenv(compiled.SWITCH, "0")
    assert compiled.library() is None
    compiled.library.cache_clear()
    monkeypatch.delenv(compiled.SWITCH)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "")
    assert compiled.library() is None
    compiled.library.cache_clear()


@needs_compiler
def test_a_user_without_a_home_folder_does_without(monkeypatch):
    compiled.library.cache_clear()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert compiled.library() is None
    monkeypatch.undo()
    compiled.library.cache_clear()


@needs_compiler
def test_a_compiler_that_fails_leaves_nothing(monkeypatch, tmp_path):
    compiled.library.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "FLAGS", ("--no-such-flag",))
    assert compiled.library() is None
    assert not list((tmp_path / "fuxictr_qnn").iterdir())
    monkeypatch.undo()
    compiled.library.cache_clear()
