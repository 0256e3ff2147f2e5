"""Random masks that cost little on a CPU."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

LANE = 1 << 16  # a keep probability is rounded to 1/65536: 16 random bits an element


def threshold_of(keep: float) -> int:
    """How many of the 65536 draws keep an element: at least one."""
    return min(max(round(keep * LANE), 1), LANE)


def draw_seed() -> int:
    """A seed for a mask, from torch's generator."""
    return torch.randint(2**62, (), dtype=torch.int64).item()


def keep_mask(shape: tuple[int, ...], keep: float, device: torch.device) -> tuple[Tensor, float]:
    """A random boolean mask and the exact probability with which its elements are True.

    On the CPU 16 random bits an element come from NumPy's SFC64, seeded from torch's generator:
    a Bernoulli draw of torch costs over ten times as much there. The probability is `keep` rounded
    to 1/65536, and dividing by it keeps dropout unbiased.
    """
    if device.type != "cpu":
        return torch.empty(shape, dtype=torch.bool, device=device).bernoulli_(keep), keep
    threshold = threshold_of(keep)
    count = math.prod(shape)
    words = np.random.Generator(np.random.SFC64(draw_seed())).integers(
        0, 2**64, size=-(-count // 4), dtype=np.uint64
    )
    bits = words.view(np.uint16)[:count].reshape(shape)
    return torch.from_numpy(bits < threshold), threshold / LANE
