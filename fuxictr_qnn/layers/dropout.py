"""Dropout masks that cost little on a CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LANE = 1 << 16  # a keep probability is rounded to 1/65536: 16 random bits an element


def keep_mask(shape: tuple[int, ...], keep: float, device: torch.device) -> tuple[Tensor, float]:
    """A random boolean mask and the exact probability with which its elements are True.

    On the CPU 16 random bits an element come from NumPy's SFC64, seeded from torch's generator:
    a Bernoulli draw of torch costs over ten times as much there. The probability is `keep` rounded
    to 1/65536, and dividing by it keeps dropout unbiased.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=torch.bool, device=device).bernoulli_(keep), keep
    threshold = min(max(round(keep * _LANE), 1), _LANE)
    seed = torch.randint(2**62, (), dtype=torch.int64).item()
    count = math.prod(shape)
    words = np.random.Generator(np.random.SFC64(seed)).integers(
        0, 2**64, size=-(-count // 4), dtype=np.uint64
    )
    bits = words.view(np.uint16)[:count].reshape(shape)
    return torch.from_numpy(bits < threshold), threshold / _LANE


def masked(values: Tensor, mask: Tensor, out: Tensor) -> None:
    """out = values * mask. On the CPU by NumPy, which needs no float copy of a boolean mask."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        np.multiply(values.numpy(), mask.numpy(), out=out.numpy())
    else:
        torch.mul(values, mask, out=out)


class _Dropped(torch.autograd.Function):
    """x * mask / keep; one bit per element is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, keep: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.keep = keep
        return _scaled(x, mask, keep)

    @staticmethod
    def backward(ctx: Any, grad: Tensor):
        return _scaled(grad, *ctx.saved_tensors, ctx.keep), None, None


def _scaled(values: Tensor, mask: Tensor, keep: float) -> Tensor:
    out = torch.empty_like(values)
    masked(values, mask, out)
    return out.div_(keep)


class Dropout(nn.Dropout):
    """torch's dropout with the masks of `keep_mask`: in training y = x * mask / P(mask), else y = x.

    Shapes: any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return _Dropped.apply(x, *keep_mask(tuple(x.shape), 1.0 - self.p, x.device))
