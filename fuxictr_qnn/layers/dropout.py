"""Dropout masks that cost little on a CPU."""

from __future__ import annotations

import math

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


class Dropout(nn.Dropout):
    """torch's dropout with the masks of `keep_mask`: in training y = x * mask / P(mask), else y = x.

    Shapes: any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        mask, keep = keep_mask(tuple(x.shape), 1.0 - self.p, x.device)
        return x * (mask.to(x.dtype) / keep)
