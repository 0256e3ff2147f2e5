"""Activation, dropout and pooling of the Khatri-Rao rows in one sweep over memory.

B batch, M rows, D width. The product of the layer pools over its rows,
sum_m x * h_m = x * sum_m h_m, so the (B, M, D) product never needs to exist: what remains of the
rows is s = sum_m dropout(relu(z_m)) and, for the backward pass, one bit per element that says
whether it was positive and kept.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fuxictr_qnn.layers.dropout import keep_mask, masked

# Rows of the batch handled at a time on the CPU: the temporaries of a chunk stay in the cache.
_CHUNK_ELEMENTS = 1 << 18


def _chunks(z: Tensor) -> range:
    per_row = max(1, z.shape[1:].numel())
    rows = z.shape[0] if z.device.type != "cpu" else _CHUNK_ELEMENTS // per_row
    return range(0, z.shape[0], max(1, rows))


def _and_positive(mask: Tensor, values: Tensor) -> None:
    """mask &= values > 0, in place."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        np.logical_and(mask.numpy(), np.greater(values.numpy(), 0), out=mask.numpy())
    else:
        mask.logical_and_(values > 0)


class _PooledRows(torch.autograd.Function):
    """z (B, M, D) -> one s (B, D) for each dropout pass over the same z."""

    @staticmethod
    def forward(ctx, z: Tensor, relu: bool, dropout: float, passes: int) -> tuple[Tensor, ...]:
        chunks = _chunks(z)
        masks, keep = [], 1.0
        if dropout > 0:
            for _ in range(passes):
                mask, keep = keep_mask(tuple(z.shape), 1.0 - dropout, z.device)
                masks.append(mask)
        elif relu:
            masks.append(z > 0)
        sums = [z.new_empty(z.shape[0], z.shape[2]) for _ in range(max(1, len(masks)))]
        buffer = torch.empty_like(z[: chunks.step])
        for start in chunks:
            z_BMD = z[start : start + chunks.step]
            part = buffer[: z_BMD.shape[0]]
            for mask, s in zip(masks, sums, strict=True) if masks else [(None, sums[0])]:
                if mask is None:
                    torch.sum(z_BMD, dim=1, out=s[start : start + chunks.step])
                    continue
                kept = mask[start : start + chunks.step]
                if relu and dropout > 0:
                    _and_positive(kept, z_BMD)
                masked(z_BMD, kept, out=part)
                torch.sum(part, dim=1, out=s[start : start + chunks.step])
        if keep != 1.0:
            for s in sums:
                s.div_(keep)
        ctx.save_for_backward(*masks)
        ctx.keep, ctx.rows = keep, z.shape[1]
        # Without dropout all passes are equal; each still gets a tensor of its own.
        return tuple(sums[i] if i < len(sums) else sums[0].clone() for i in range(passes))

    @staticmethod
    def backward(ctx, *grads_BD: Tensor):
        masks = ctx.saved_tensors
        if len(masks) < len(grads_BD):  # the passes were equal
            grads_BD = (torch.stack(grads_BD).sum(0),)
        if not masks:
            grad = grads_BD[0].unsqueeze(1).expand(-1, ctx.rows, -1)
            return grad, None, None, None
        scaled = [grad / ctx.keep if ctx.keep != 1.0 else grad for grad in grads_BD]
        dz = scaled[0].new_empty(masks[0].shape)
        chunks = _chunks(dz)
        buffer = torch.empty_like(dz[: chunks.step]) if len(masks) > 1 else None
        for start in chunks:
            stop = start + chunks.step
            out = dz[start:stop]
            masked(scaled[0][start:stop].unsqueeze(1), masks[0][start:stop], out=out)
            for grad, mask in zip(scaled[1:], masks[1:], strict=True):
                part = buffer[: out.shape[0]]
                masked(grad[start:stop].unsqueeze(1), mask[start:stop], out=part)
                out.add_(part)
        return dz, None, None, None


def pooled_rows(z: Tensor, relu: bool, dropout: float, passes: int = 1) -> tuple[Tensor, ...]:
    """s = sum_m dropout(relu(z_m)), drawn `passes` times with independent dropout masks.

    Args:
        z: (B, M, D), the rows before their ReLU (`relu`), or already activated.
        relu: whether the ReLU is applied here.
        dropout: probability of dropping an element; 0 at evaluation.
        passes: how many independent draws of the dropout mask to return.

    Returns:
        `passes` tensors (B, D).
    """
    return _PooledRows.apply(z, relu, float(dropout), passes)
