"""What all loaders have in common: where batches begin, what is in one, and how epochs follow each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuxictr_qnn.data.loaders.storage import Field, layout


class Loader(ABC):
    """Batches of an encoded split; a class for FuxiCTR's `data_loader` hook.

    Training rows are shuffled (if asked) anew each epoch, from seed and epoch alone. Other splits keep
    the order of the file. A last training batch of a single row, on which batch norm fails, joins the
    batch before it.

    Args:
        feature_map: FuxiCTR's FeatureMap; its features, group_id and labels are read.
        data_path: parquet, npz or h5 file, or a folder of part files.
        split: "train", or anything else for data that keeps its order.
        device: where the batches lie.
        weight_col: the column of the rows' weights, for training batches; without it they have none, as
            FuxiCTR's own fit knows none and stumbles over columns that are no features.
        **kwargs: other keys of FuxiCTR's hook are accepted and not used.

    Each batch is a dict: feature, group id or label -> tensor of shape (B,), sequences (B, max_len),
    embeddings (B, pretrain_dim); in training also `weight_col`, (B,). Ids are int32, meta columns int64,
    numbers and labels float32. Where the feature map has an item table, a batch holds of the items only
    their ids: item_key (B,) and item_history (B, max_len), the latest item last, 0 before the first.

    Attributes:
        warnings: sentences to show loudly.
    """

    def __init__(
        self,
        feature_map: Any,
        data_path: str | Path,
        split: str = "train",
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        weight_col: str | None = None,
        **kwargs: Any,
    ):
        self.feature_map = feature_map
        self.split = split
        self.batch_size = batch_size
        self.shuffle = shuffle and split == "train"
        self.seed = seed
        self.device = device
        self.epoch = 0
        self.warnings: list[str] = []
        self._fields = layout(feature_map, weight_col if split == "train" else None)
        self.num_blocks, self.num_samples = self._open(Path(data_path))
        self._starts = _batch_starts(self.num_samples, batch_size, split)
        self.num_batches = len(self._starts)

    @abstractmethod
    def _open(self, path: Path) -> tuple[int, int]:
        """Get ready to read the columns of `_fields`; returns the number of files and of rows."""

    @abstractmethod
    def _batches(self, epoch: int, start: int) -> Iterator[dict[str, Tensor]]:
        """The batches of an epoch from number `start` on."""

    def __len__(self) -> int:
        return self.num_batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass: the same for the same seed and epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One pass over the epoch's order; the next pass is the next epoch."""
        order_of_epoch = self.epoch
        self.epoch += 1
        return self._batches(order_of_epoch, 0)

    def batches(self, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """The batches of the current epoch from number `start` on; does not advance the epoch."""
        return self._batches(self.epoch, start)

    def _rows(self, number: int) -> slice:
        """The places, in the epoch's order, of the rows of a batch."""
        ends = self._starts[number + 1] if number + 1 < self.num_batches else self.num_samples
        return slice(self._starts[number], ends)

    def _batch(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The columns of some rows of each matrix: (B,), lists (B, width)."""
        return {field.name: _column(parts[field.matrix], field) for field in self._fields}

    def _random_state(self, epoch: int, *more: int) -> np.random.SeedSequence:
        """What decides an epoch's order: seed, epoch and these numbers, and no global state."""
        return np.random.SeedSequence((self.seed, epoch, *more))


def _batch_starts(rows: int, batch_size: int, split: str) -> list[int]:
    """The first row of each batch. A last training batch of one row joins the one before."""
    starts = list(range(0, rows, batch_size))
    if split == "train" and len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return starts


def _column(part: Tensor, field: Field) -> Tensor:
    if field.is_list:
        return part[:, field.start : field.start + field.width]
    return part[:, field.start]
