"""The sweep over the Khatri-Rao rows (rows.c) on tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuxictr_qnn.layers.native import compiled

LANE = 1 << 16  # draws have 16 bits


class Pooled(NamedTuple):
    """What `pool` gives, a tensor a pass.

    Attributes:
        sums: (B, D).
        outs: (B, D); empty where no products were asked for.
        masks: (B, M, D), bool.
        after_masks: (B, D), bool; empty where nothing is dropped from the outputs.
    """

    sums: list[Tensor]
    outs: list[Tensor]
    masks: list[Tensor]
    after_masks: list[Tensor]


def pool(
    z: Tensor,
    relu: bool,
    threshold: int,
    seeds: Sequence[int],
    bias: Tensor | None = None,
    x: Tensor | None = None,
    order: Tensor | None = None,
    after: int = LANE,
    after_seeds: Sequence[int] = (),
) -> Pooled:
    """For each seed s = sum_m mask * (z + bias) / keep and, with x, out = dropout(x + x[:, order] * s).

    Args:
        z: (B, M, D).
        relu: whether only positive elements are kept.
        threshold: keep is threshold / 65536, the probability with which an element is drawn to stay.
        seeds: of the passes.
        bias: (M * D,) or None.
        x: (B, D), or None for no products.
        order: (D,) int64, where the factors stand in x; None: in their places.
        after, after_seeds: threshold and seeds of the dropout of the outputs.
    """
    sums = [z.new_empty(z.shape[0], z.shape[2]) for _ in seeds]
    outs = [torch.empty_like(s) for s in sums] if x is not None else []
    masks = [torch.empty(z.shape, dtype=torch.bool) for _ in seeds]
    after_masks = [torch.empty(s.shape, dtype=torch.bool) for s in sums] if after < LANE else []
    states = [_state(seed) for seed in (*seeds, *after_seeds)]
    places = [state.ctypes.data for state in states]
    failed = compiled.library().pool(
        *map(compiled.pointer, (z, bias, x, order)), *compiled.sizes(*z.shape), int(relu), threshold, after,
        *compiled.sizes(len(seeds)), *map(compiled.addresses, (places[: len(seeds)], places[len(seeds) :])),
        *map(compiled.addresses, (sums, outs, masks, after_masks)), torch.get_num_threads(),
    )  # fmt: skip
    _check(failed)
    return Pooled(sums, outs, masks, after_masks)


def spread(
    grads: Sequence[Tensor],
    masks: Sequence[Tensor],
    keep: float,
    sums: Sequence[Tensor] = (),
    x: Tensor | None = None,
    order: Tensor | None = None,
    with_bias: bool = False,
    after_masks: Sequence[Tensor] = (),
    after_keep: float = 1.0,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients of `pool` from those of its outputs, or of its sums where there is no x.

    Returns:
        those of z (B, M, D), of the bias (M * D,) and of x (B, D); None for what there was not.
    """
    dz = grads[0].new_empty(masks[0].shape)
    dbias = dz.new_zeros(dz.shape[1] * dz.shape[2]) if with_bias else None
    dx = None if x is None else torch.empty_like(x)
    failed = compiled.library().spread(
        compiled.addresses(grads), compiled.addresses(masks),
        compiled.addresses(after_masks) if after_masks else None, compiled.addresses(sums),
        *map(compiled.pointer, (x, order)), *compiled.sizes(len(grads), *dz.shape),
        ctypes.c_float(keep), ctypes.c_float(after_keep), *map(compiled.pointer, (dz, dbias, dx)),
        torch.get_num_threads(),
    )  # fmt: skip
    _check(failed)
    return dz, dbias, dx


def _state(seed: int) -> np.ndarray:
    return np.random.SFC64(seed).state["state"]["state"]


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for the temporaries of a few rows")
