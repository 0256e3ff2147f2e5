"""Activation, dropout, pooling and product of the Khatri-Rao rows in one sweep over memory.

B batch, M rows, D width. The product of the layer pools over its rows,
sum_m x * h_m = x * sum_m h_m, so the (B, M, D) product never needs to exist: what remains of the
rows is s = sum_m dropout(relu(z_m)) and, for the backward pass, one byte per element that says
whether it was positive and kept.

On the CPU the sweep is compiled C (native/rows.c); NumPy and torch give the same bits without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fuxictr_qnn.layers.masks import LANE, draw_seed, keep_mask, threshold_of
from fuxictr_qnn.layers.native import compiled, rows

# Rows of the batch handled at a time by NumPy: the temporaries of a chunk stay in the cache.
_CHUNK_ELEMENTS = 1 << 18

Dropouts = tuple[float, float]  # of the rows, and of the layer's outputs


class _PooledRows(torch.autograd.Function):
    """z (B, M, D) -> one s (B, D) for each dropout pass over the same z."""

    @staticmethod
    def forward(ctx, z: Tensor, relu: bool, dropout: float, passes: int) -> tuple[Tensor, ...]:
        drawn = passes if dropout > 0 else 1  # without dropout all passes are equal
        if not relu and dropout == 0:
            sums, masks, keep = [z.sum(dim=1)], [], 1.0
        elif compiled.usable(z):
            threshold, seeds = threshold_of(1.0 - dropout), _seeds(dropout, drawn)
            sums, _, masks, _ = rows.pool(z, relu, threshold, seeds)
            keep = threshold / LANE
        else:
            sums, masks, keep = _pool(z, relu, dropout, drawn)
        ctx.save_for_backward(*masks)
        ctx.keep, ctx.rows = keep, z.shape[1]
        return tuple(sums[i] if i < len(sums) else sums[0].clone() for i in range(passes))

    @staticmethod
    def backward(ctx, *grads_BD: Tensor):
        masks = ctx.saved_tensors
        if len(masks) < len(grads_BD):  # the passes were equal
            grads_BD = (torch.stack(grads_BD).sum(0),)
        if not masks:
            return grads_BD[0].unsqueeze(1).expand(-1, ctx.rows, -1), None, None, None
        grads_BD = [grad.contiguous() for grad in grads_BD]
        if compiled.usable(*grads_BD):
            return rows.spread(grads_BD, masks, ctx.keep)[0], None, None, None
        return _spread([grad / ctx.keep for grad in grads_BD], masks), None, None, None


class _Products(torch.autograd.Function):
    """dropout(x + x[:, order] * s) (B, D) for each pass over the same z (B, M, D) + bias (M*D,)."""

    @staticmethod
    def forward(
        ctx, z: Tensor, bias: Tensor, x: Tensor, order: Tensor, relu: bool, dropouts: Dropouts, passes: int
    ):
        inside, after = (threshold_of(1.0 - dropout) for dropout in dropouts)
        # Without dropout all passes are equal, and each still gets a tensor of its own.
        seeds = [_seeds(dropout, passes) for dropout in dropouts]
        found = rows.pool(z, relu, inside, seeds[0], bias, x, order, after, seeds[1])
        ctx.save_for_backward(x, order, *found.sums, *found.masks, *found.after_masks)
        ctx.keeps, ctx.with_bias = (inside / LANE, after / LANE), bias is not None
        return tuple(found.outs)

    @staticmethod
    def backward(ctx, *grads_BD: Tensor):
        x, order, *saved = ctx.saved_tensors
        n = len(grads_BD)
        sums, masks, after_masks = saved[:n], saved[n : 2 * n], saved[2 * n :]
        grads_BD = [grad.contiguous() for grad in grads_BD]
        keep, after_keep = ctx.keeps
        found = rows.spread(grads_BD, masks, keep, sums, x, order, ctx.with_bias, after_masks, after_keep)
        return *found, None, None, None, None


def _seeds(dropout: float, passes: int) -> list[int]:
    return [draw_seed() if dropout > 0 else 0 for _ in range(passes)]


def _pool(z: Tensor, relu: bool, dropout: float, passes: int) -> tuple[list[Tensor], list[Tensor], float]:
    """The sums (B, D) and masks (B, M, D) of the passes, and the exact probability of keeping an element."""
    masks, keep = [], 1.0
    for _ in range(passes if dropout > 0 else 0):
        mask, keep = keep_mask(tuple(z.shape), 1.0 - dropout, z.device)
        masks.append(mask)
    masks = masks or [torch.ones(z.shape, dtype=torch.bool, device=z.device)]
    sums = [z.new_empty(z.shape[0], z.shape[2]) for _ in masks]
    chunks = _chunks(z)
    buffer = torch.empty_like(z[: chunks.step])
    for start in chunks:
        z_BMD = z[start : start + chunks.step]
        part = buffer[: z_BMD.shape[0]]
        for mask, s in zip(masks, sums, strict=True):
            kept = mask[start : start + chunks.step]
            if relu:
                _and_positive(kept, z_BMD)
            _masked(z_BMD, kept, out=part)
            torch.sum(part, dim=1, out=s[start : start + chunks.step])
    return [s.div_(keep) for s in sums], masks, keep


def _spread(grads: list[Tensor], masks: tuple[Tensor, ...]) -> Tensor:
    """dz (B, M, D) = the sum over passes of mask * grad (B, D)."""
    dz = grads[0].new_empty(masks[0].shape)
    chunks = _chunks(dz)
    buffer = torch.empty_like(dz[: chunks.step]) if len(masks) > 1 else None
    for start in chunks:
        stop = start + chunks.step
        out = dz[start:stop]
        _masked(grads[0][start:stop].unsqueeze(1), masks[0][start:stop], out=out)
        for grad, mask in zip(grads[1:], masks[1:], strict=True):
            part = buffer[: out.shape[0]]
            _masked(grad[start:stop].unsqueeze(1), mask[start:stop], out=part)
            out.add_(part)
    return dz


def _chunks(z: Tensor) -> range:
    per_row = max(1, z.shape[1:].numel())
    rows = z.shape[0] if z.device.type != "cpu" else _CHUNK_ELEMENTS // per_row
    return range(0, z.shape[0], max(1, rows))


def _by_numpy(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)


def _and_positive(mask: Tensor, values: Tensor) -> None:
    """mask &= values > 0, in place."""
    if _by_numpy(values):
        np.logical_and(mask.numpy(), np.greater(values.numpy(), 0), out=mask.numpy())
    else:
        mask.logical_and_(values > 0)


def _masked(values: Tensor, mask: Tensor, out: Tensor) -> None:
    """out = values * mask. On the CPU by NumPy, which needs no float copy of a boolean mask."""
    if _by_numpy(values):
        np.multiply(values.numpy(), mask.numpy(), out=out.numpy())
    else:
        torch.mul(values, mask, out=out)


def _outside_graphs(function: Callable) -> Callable:
    """`function`, which torch.compile calls on a CPU as it is: its own code there is slow at drawing masks.

    On other devices, and in exports, it is traced.
    """
    outside = torch._disable_dynamo(function)  # torch.compiler.disable that imports the compiler when called

    @wraps(function)
    def call(z: Tensor, *args, **kwargs):
        chosen = outside if torch.compiler.is_dynamo_compiling() and z.device.type == "cpu" else function
        return chosen(z, *args, **kwargs)

    return call


@_outside_graphs
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
    if torch.compiler.is_compiling():  # which fuses the plain operators itself
        h = torch.relu(z) if relu else z
        return tuple(F.dropout(h, dropout).sum(dim=1) for _ in range(passes))
    return _PooledRows.apply(z, relu, float(dropout), passes)


@_outside_graphs
def row_products(
    z: Tensor,
    bias: Tensor | None,
    x: Tensor,
    order: Tensor | None,
    relu: bool,
    dropouts: Dropouts,
    passes: int = 1,
) -> tuple[Tensor, ...]:
    """dropout(x + x[:, order] * s) with the s of `pooled_rows(z + bias)`: the layer's product and residual.

    Args:
        z: (B, M, D).
        bias: (M*D,) or None.
        x: (B, D), the residual and, in another order, the factor.
        order: (D,) int64; None: the factors stand in their places.
        dropouts: of the rows, and of what is returned.
        relu, passes: as in `pooled_rows`.

    Returns:
        `passes` tensors (B, D).
    """
    if compiled.usable(z, x) and (bias is None or compiled.usable(bias)):
        return _Products.apply(z, bias, x, order, relu, dropouts, passes)
    if bias is not None:
        z = z + bias.view(z.shape[1:]).to(z.dtype)
    factor = x if order is None else x.index_select(1, order)
    sums = pooled_rows(z, relu, dropouts[0], passes)
    return tuple(dropped(torch.addcmul(x, factor, s.to(x.dtype)), dropouts[1]) for s in sums)


def dropped(x: Tensor, dropout: float) -> Tensor:
    """x * mask / P(mask) with the masks of `keep_mask`; any shape."""
    if dropout == 0 or not x.numel():
        return x
    # A pool over one row each. One sweep, and one byte an element for the backward pass.
    return pooled_rows(x.reshape(x.shape[0], 1, -1), False, dropout)[0].view(x.shape)
