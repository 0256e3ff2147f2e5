"""Layers as they are at evaluation, in fewer operations: for scoring and export, not for training.

B batch, F fields, C ids, E embedding dim, D = F*E, M rows. Each is a snapshot of the weights it is made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.layers.block_linear import BlockLinear
from fuxictr_qnn.layers.khatri_rao import KhatriRaoLayer


@dataclass(frozen=True)
class Tokens:
    """How a field of several ids becomes one vector: the mean of their rows, or their sum."""

    length: int
    mean: bool


class PackedEmbedding(nn.Module):
    """The embedding tables of all fields one below the other: one lookup instead of F.

    Args:
        tables: (vocabulary, E) of each field.
        tokens: what is done with the ids of each field; None: it has one. Rows that are 0 do not count in a
            mean, as in FuxiCTR's MaskedAveragePooling.

    Shapes: ids (B, C) of any integer type, a field's ids side by side -> (B, F*E).
    """

    def __init__(self, tables: Sequence[Tensor], tokens: Sequence[Tokens | None] | None = None):
        super().__init__()
        tokens = tokens or [None] * len(tables)
        lengths = torch.tensor([each.length if each else 1 for each in tokens])
        sizes = torch.tensor([0, *(len(table) for table in tables[:-1])])
        self.register_buffer("table", torch.cat([table.detach() for table in tables]))
        self.register_buffer("first", sizes.cumsum(0).repeat_interleave(lengths).to(tables[0].device))
        self.width = len(tables) * self.table.shape[1]
        self.spans = _spans(tokens)
        means = any(each and each.mean for each in tokens)
        counts = (self.table.sum(1, keepdim=True) != 0).to(self.table.dtype) + 1e-12 if means else None
        self.register_buffer("counts", counts)  # (vocabulary of all, 1): as good as 0 for the padding

    def forward(self, ids: Tensor) -> Tensor:
        at = ids + self.first
        rows = F.embedding(at, self.table)
        if not self.spans:
            return rows.view(-1, self.width)
        return torch.cat([self._vectors(rows, at, *span) for span in self.spans], dim=1).view(-1, self.width)

    def _vectors(self, rows: Tensor, at: Tensor, columns: slice, tokens: Tokens | None) -> Tensor:
        """(B, 1, E), or (B, fields, E) of fields of one id."""
        if tokens is None:
            return rows[:, columns]
        total = rows[:, columns].sum(1, keepdim=True)
        return total / F.embedding(at[:, columns], self.counts).sum(1, keepdim=True) if tokens.mean else total


def _spans(tokens: Sequence[Tokens | None]) -> list[tuple[slice, Tokens | None]]:
    """The columns of each field of several ids, and of each run of others; none if there are only others."""
    if not any(tokens):
        return []
    spans, start = [], 0
    for is_list, run in groupby(tokens, lambda each: each is not None):
        run = list(run)
        for each in run if is_list else [None]:
            stop = start + (each.length if each else len(run))
            spans.append((slice(start, stop), each))
            start = stop
    return spans


class FoldedKhatriRao(nn.Module):
    r"""A KhatriRaoLayer at evaluation: :math:`x + x' \odot \sum_m \sigma(W_m x + b_m)`.

    W and b hold the batch norm; x' is x, or for the layout `reference` x head by head (see KhatriRaoLayer).

    Shapes: (B, D) -> (B, D).

    Attributes:
        head_width: so many numbers in a row of x' stand in a row in x.
        block: how many of them are moved at a time: 1 is fast in torch, `head_width` in onnxruntime.
    """

    block = 1

    def __init__(self, layer: KhatriRaoLayer):
        super().__init__()
        self.head_width = layer.input_dim // (layer.num_fields * layer.num_heads)
        weight, bias = (tensor.detach() for tensor in layer.row_weights())
        order = layer._split_heads(torch.arange(layer.input_dim, device=bias.device)[None])[0]
        permutes = layer.num_heads > 1 and layer.head_layout == "reference"
        self.register_buffer("order", order if permutes else None)
        if layer.num_heads > 1 and not permutes:  # rows in the order of x, so that nothing has to be moved
            back = order.argsort()
            shape = (layer.num_rows, layer.input_dim)
            weight, bias = weight.view(*shape, -1)[:, back].flatten(0, 1), bias.view(shape)[:, back].flatten()
        self.register_buffer("weight", weight.t().contiguous())
        self.register_buffer("bias", bias)
        self.shape = (-1, layer.num_rows, layer.input_dim)
        self.activation = layer.activation

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.addmm(self.bias, x, self.weight)
        rows = rows.relu_() if isinstance(self.activation, nn.ReLU) else self.activation(rows)
        return torch.addcmul(x, self._factor(x), rows.view(self.shape).sum(1))

    def _factor(self, x: Tensor) -> Tensor:
        """x' (B, D)."""
        if self.order is None:
            return x
        if self.block == 1:
            return x.index_select(1, self.order)
        blocks = self.order[:: self.block] // self.block
        return x.view(-1, len(blocks), self.block).index_select(1, blocks).view(-1, len(self.order))


def folded(layer: KhatriRaoLayer) -> nn.Module:
    """The layer for scoring; one that lacks a part, or has weights for each head, stays as it is."""
    other = isinstance(layer.linear, BlockLinear) or not (layer.residual and layer.khatri_rao)
    return layer if other else FoldedKhatriRao(layer)
