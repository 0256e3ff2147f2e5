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
        self.width = len(tables) * self.table.shape[1]

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids + self.first, self.table).view(-1, self.width)


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
