"""The whole split in memory: a batch is one gather of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuxictr_qnn.data.loaders.batches import batch_of, batch_starts, random_state
from fuxictr_qnn.data.loaders.storage import data_files, layout, read_matrices


class MemoryLoader:
    """Batches of an encoded split held in memory; a class for FuxiCTR's `data_loader` hook.

    Training rows are shuffled (if asked) by an order that only the seed and the number of the epoch
    decide. Other splits keep the order of the file. A last training batch of a single row, on which
    batch norm fails, joins the batch before it.

    Args:
        feature_map: FuxiCTR's FeatureMap; its features, group_id and labels are read.
        data_path: parquet, npz or h5 file, or a folder of part files.
        split: "train", or anything else for data that keeps its order.
        device: where the matrices lie, and so the batches.
        **kwargs: other keys of FuxiCTR's hook are accepted and not used.

    Each batch is a dict: feature, group id or label -> tensor of shape (B,), sequences (B, max_len),
    embeddings (B, pretrain_dim); in training also the rows' weights, where the feature map has a
    `weight_col`, (B,). Ids are int32, meta columns int64, numbers and labels float32. Where the
    feature map has an item table, a batch holds of the items only their ids: item_key (B,) and
    item_history (B, max_len), the latest item last, 0 before the first.
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
        **kwargs: Any,
    ):
        self.feature_map = feature_map
        self.split = split
        self.batch_size = batch_size
        self.shuffle = shuffle and split == "train"
        self.seed = seed
        self.epoch = 0
        self._fields = layout(feature_map, split)
        self.num_blocks = len(data_files(Path(data_path)))
        arrays = read_matrices(Path(data_path), self._fields)
        self._matrices = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        self.num_samples = len(next(iter(arrays.values())))
        self._starts = batch_starts(self.num_samples, batch_size, split)
        self.num_batches = len(self._starts)

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

    def _batches(self, epoch: int, start: int) -> Iterator[dict[str, Tensor]]:
        order = self._order(epoch) if self.shuffle else None
        for number in range(start, self.num_batches):
            ends = self._starts[number + 1] if number + 1 < self.num_batches else self.num_samples
            yield self._batch(slice(self._starts[number], ends), order)

    def _batch(self, rows: slice, order: Tensor | None) -> dict[str, Tensor]:
        if order is None:
            parts = {name: matrix[rows] for name, matrix in self._matrices.items()}
        else:
            chosen = order[rows]
            parts = {name: _gather(matrix, chosen) for name, matrix in self._matrices.items()}
        return batch_of(parts, self._fields)

    def _order(self, epoch: int) -> Tensor:
        """A permutation of the rows; drawn on the CPU, so that every device sees the same one."""
        seed = int(random_state(self.seed, epoch).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        device = next(iter(self._matrices.values())).device
        return torch.randperm(self.num_samples, generator=generator).to(device)


def _gather(matrix: Tensor, rows: Tensor) -> Tensor:
    """Rows of a matrix. On the CPU by numpy, in this thread: waking torch's threads takes longer."""
    if matrix.device.type == "cpu":
        return torch.from_numpy(matrix.numpy().take(rows.numpy(), axis=0))
    return matrix.index_select(0, rows)
