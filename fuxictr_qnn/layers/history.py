"""Histories: what an attention asks of them is scores against a query and weighted sums.

B batch, H heads, S positions of a history, D width of an item, U rows of a table of items.

A history is usually given as rows of a table of embedded items, an index (B, S). Looked up, it is a
(B, S, D) tensor, whose traffic through memory costs more than the attention itself. On a CPU both
operations here read the table's rows where they lie, in the forward and in the backward pass.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable

_DTYPES = (torch.float32, torch.float64)  # those that torch's sparse products have on a CPU


class Sequence:
    """Histories given as a tensor (B, S, D)."""

    def __init__(self, sequence_BSD: Tensor):
        self.items_BSD = sequence_BSD

    def scores(self, query_BHD: Tensor) -> Tensor:
        """(B, H, S): the inner products of each query with the items of its history."""
        return torch.einsum("bhd,bsd->bhs", query_BHD, self.items_BSD)

    def weighted_sum(self, weights_BHS: Tensor) -> Tensor:
        """(B, H, D): sum_s w_s x_s."""
        return torch.einsum("bhs,bsd->bhd", weights_BHS, self.items_BSD)


class TableRows:
    """The same for histories (at least one position) of rows of a table (U, D) on the CPU.

    Raises:
        ValueError: an index outside the table.
    """

    def __init__(self, table_UD: Tensor, index_BS: Tensor):
        self.table_UD, self.index = table_UD, _Index(index_BS, table_UD.shape[0])

    def scores(self, query_BHD: Tensor) -> Tensor:
        """(B, H, S): the inner products of each query with the items of its history."""
        heads = query_BHD.to(self.table_UD.dtype).unbind(1)
        return torch.stack([_Scores.apply(query, self.table_UD, self.index) for query in heads], 1)

    def weighted_sum(self, weights_BHS: Tensor) -> Tensor:
        """(B, H, D): sum_s w_s x_s."""
        heads = weights_BHS.to(self.table_UD.dtype).unbind(1)
        return torch.stack([_WeightedSum.apply(weights, self.table_UD, self.index) for weights in heads], 1)


def rows_of(table_UD: Tensor, index_BS: Tensor) -> Sequence | TableRows:
    """Histories as rows of a table, in the form that is fast on the table's device."""
    if table_UD.device.type == "cpu" and table_UD.dtype in _DTYPES and index_BS.numel():
        return TableRows(table_UD, index_BS)
    return Sequence(F.embedding(index_BS.long(), table_UD))


class _Index:
    """Positions (B, S) -> rows of a table, and its transpose: each row's positions, one after another."""

    def __init__(self, index_BS: Tensor, num_rows: int):
        lowest, highest = (int(i) for i in index_BS.aminmax())
        if lowest < 0 or highest >= num_rows:
            raise ValueError(f"histories name rows {lowest} to {highest} of a table of {num_rows} items")
        self.shape, self.num_rows = index_BS.shape, num_rows
        self.rows = index_BS.to(torch.int32).flatten()
        self._transpose: tuple[Tensor, Tensor, Tensor] | None = None

    def dot(self, left_BD: Tensor, table_UD: Tensor) -> Tensor:
        """(B, S): left_b . table[index_bs], a product sampled at the index."""
        batch, length = self.shape
        starts = torch.arange(0, batch * length + 1, length, dtype=torch.int32)
        if length > self.num_rows:  # the whole product is smaller; torch refuses to sample more than there is
            return (left_BD @ table_UD.t()).gather(1, self.rows.view(self.shape).long())
        with warnings.catch_warnings():  # torch announces once that sparse CSR is in beta
            warnings.simplefilter("ignore", UserWarning)
            wanted = torch.sparse_csr_tensor(
                starts,
                self.rows,
                left_BD.new_zeros(len(self.rows)),
                size=(batch, self.num_rows),
                check_invariants=False,
            )
        product = torch.sparse.sampled_addmm(wanted, left_BD.contiguous(), table_UD.t(), beta=0.0)
        return product.values().view(batch, length)

    def sum(self, weights_BS: Tensor, table_UD: Tensor) -> Tensor:
        """(B, D): sum_s w_bs table[index_bs]."""
        return F.embedding_bag(
            self.rows.view(self.shape), table_UD, mode="sum", per_sample_weights=weights_BS.contiguous()
        )

    def spread(self, weights_BS: Tensor, left_BD: Tensor) -> Tensor:
        """(U, D): the sum of w_bs left_b over the positions of each row; the gradient of `sum`."""
        if self._transpose is None:
            order = torch.sort(self.rows, stable=True).indices
            counts = torch.bincount(self.rows, minlength=self.num_rows)
            self._transpose = order, order // self.shape[1], counts.cumsum(0) - counts
        order, batch_of, starts = self._transpose
        return F.embedding_bag(
            batch_of,
            left_BD.contiguous(),
            starts,
            mode="sum",
            per_sample_weights=weights_BS.flatten()[order],
        )


class _Scores(torch.autograd.Function):
    """(B, D), (U, D), index -> (B, S): s_bs = q_b . table[index_bs]."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # no autocast inside
    def forward(ctx, query_BD: Tensor, table_UD: Tensor, index: _Index) -> Tensor:
        ctx.save_for_backward(query_BD, table_UD)
        ctx.index = index
        return index.dot(query_BD, table_UD)

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(ctx, grad_BS: Tensor):
        query_BD, table_UD = ctx.saved_tensors
        return ctx.index.sum(grad_BS, table_UD), ctx.index.spread(grad_BS, query_BD), None


class _WeightedSum(torch.autograd.Function):
    """(B, S), (U, D), index -> (B, D): o_b = sum_s w_bs table[index_bs]."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # no autocast inside
    def forward(ctx, weights_BS: Tensor, table_UD: Tensor, index: _Index) -> Tensor:
        ctx.save_for_backward(weights_BS, table_UD)
        ctx.index = index
        return index.sum(weights_BS, table_UD)

    @staticmethod
    @once_differentiable
    @custom_bwd(device_type="cpu")
    def backward(ctx, grad_BD: Tensor):
        weights_BS, table_UD = ctx.saved_tensors
        return ctx.index.dot(grad_BD, table_UD), ctx.index.spread(weights_BS, grad_BD), None
