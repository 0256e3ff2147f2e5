"""Rows of several embedding tables side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.layers.native import compiled, lookup


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ids: Sequence[Tensor], padding: Sequence[int | None], *tables: Tensor) -> Tensor:
        ctx.ids, ctx.padding, ctx.sizes = ids, padding, [len(table) for table in tables]
        return lookup.lookup(ids, tables)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return None, None, *lookup.scatter(ctx.ids, ctx.sizes, ctx.padding, grad.contiguous())


def embedding_rows(ids: Sequence[Tensor], tables: Sequence[nn.Embedding]) -> Tensor:
    """Row ids[f][b] of each table f, side by side; gradients are dense, those of padding rows zero.

    Args:
        ids: F columns (B,) of an integer type.
        tables: F plain embeddings of one width E, each given once.

    Returns:
        (B, F * E).

    Raises:
        IndexError: an id that its table does not have.
    """
    weights = [table.weight for table in tables]
    if compiled.usable(*weights) and lookup.takes(ids):
        ids = [column.contiguous() for column in ids]
        return _Lookup.apply(ids, [table.padding_idx for table in tables], *weights)
    pairs = zip(ids, tables, strict=True)
    return torch.cat([F.embedding(column.long(), t.weight, t.padding_idx) for column, t in pairs], dim=1)
