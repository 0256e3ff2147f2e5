"""What all loaders have in common: where batches begin, what is in one, and what decides the order."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fuxictr_qnn.data.loaders.storage import Field


def batch_starts(rows: int, batch_size: int, split: str) -> list[int]:
    """The first row of each batch. A last training batch of one row joins the one before."""
    starts = list(range(0, rows, batch_size))
    if split == "train" and len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return starts


def batch_of(parts: dict[str, Tensor], fields: list[Field]) -> dict[str, Tensor]:
    """The columns of some rows of each matrix: (B,), lists (B, width)."""
    return {field.name: _column(parts[field.matrix], field) for field in fields}


def _column(part: Tensor, field: Field) -> Tensor:
    if field.is_list:
        return part[:, field.start : field.start + field.width]
    return part[:, field.start]


def random_state(seed: int, epoch: int, *more: int) -> np.random.SeedSequence:
    """What decides an epoch's order: these numbers and nothing else."""
    return np.random.SeedSequence((seed, epoch, *more))
