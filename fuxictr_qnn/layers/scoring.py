"""Layers as they are at evaluation, in fewer operations: for scoring and export, not for training.

B batch, F fields, E embedding dim, D = F*E, M rows. Each is a snapshot of the weights it is made from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.layers.block_linear import BlockLinear
from fuxictr_qnn.layers.khatri_rao import KhatriRaoLayer


class PackedEmbedding(nn.Module):
    """The embedding tables of all fields one below the other: one lookup instead of F.

    Args:
        tables: (vocabulary, E) of each field.

    Shapes: ids (B, F) of any integer type -> (B, F*E).
    """

    def __init__(self, tables: Sequence[Tensor]):
        super().__init__()
        sizes = torch.tensor([0, *(len(table) for table in tables[:-1])])
        self.register_buffer("table", torch.cat([table.detach() for table in tables]))
        self.register_buffer("first", sizes.cumsum(0).to(tables[0].device))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids + self.first, self.table).flatten(1)


class FoldedKhatriRao(nn.Module):
    r"""A KhatriRaoLayer at evaluation: :math:`x + x' \odot \sum_m \sigma(W_m x + b_m)`.

    W and b hold the batch norm; x' is x, or for the layout `reference` x head by head (see KhatriRaoLayer).

    Shapes: (B, D) -> (B, D).
    """

    def __init__(self, layer: KhatriRaoLayer):
        super().__init__()
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
        factor = x if self.order is None else x.index_select(1, self.order)
        return torch.addcmul(x, factor, rows.view(self.shape).sum(1))


def folded(layer: KhatriRaoLayer) -> nn.Module:
    """The layer for scoring; one that lacks a part, or has weights for each head, stays as it is."""
    other = isinstance(layer.linear, BlockLinear) or not (layer.residual and layer.khatri_rao)
    return layer if other else FoldedKhatriRao(layer)
