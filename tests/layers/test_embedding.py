"""Rows of several tables side by side: torch's embedding in one go, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fuxictr_qnn.layers.embedding import embedding_rows
from fuxictr_qnn.layers.native import compiled


@pytest.fixture(params=["compiled", "torch"])
def either(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(compiled, "library", lambda: None)
    elif compiled.library() is None:
        pytest.skip("no C compiler on this machine")
    return request.param


def make(dim=5, sizes=(7, 40, 3), padding=(0, None, 2)):
    torch.manual_seed(1)
    return [nn.Embedding(size, dim, padding_idx=p) for size, p in zip(sizes, padding, strict=True)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("rows", [1, 200])
def test_values_and_gradients_are_those_of_torch(either, dtype, rows):
    tables = make()
    columns = torch.stack([torch.randint(len(t.weight), (rows,)) for t in tables], dim=1)
    ids = list(columns.to(dtype).unbind(dim=1))  # strided, as slices of a table are
    out = embedding_rows(ids, tables)
    expected = torch.cat([table(column.long()) for table, column in zip(tables, ids, strict=True)], dim=1)
    assert torch.equal(out, expected)
    weights = torch.randn_like(out)
    found = torch.autograd.grad((out * weights).sum(), [t.weight for t in tables])
    wanted = torch.autograd.grad((expected * weights).sum(), [t.weight for t in tables])
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not found[0][0].any() and not found[2][2].any()


@pytest.mark.parametrize("bad", [-1, 40])
def test_an_id_outside_its_table(either, bad):
    ids = [torch.zeros(4, dtype=torch.int32) for _ in range(3)]
    ids[1][2] = bad
    with pytest.raises(IndexError):
        embedding_rows(ids, make())


def test_tables_that_are_not_trained_get_no_gradient(either):
    tables = make()
    tables[1].weight.requires_grad_(False)
    embedding_rows([torch.zeros(4, dtype=torch.int32)] * 3, tables).sum().backward()
    assert tables[1].weight.grad is None and tables[0].weight.grad is not None
