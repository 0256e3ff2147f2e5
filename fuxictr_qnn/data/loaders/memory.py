"""The whole split in memory: a batch is one gather of rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from fuxictr_qnn.data.loaders.batches import Loader
from fuxictr_qnn.data.loaders.storage import data_files, read_matrices


class MemoryLoader(Loader):
    """A Loader whose matrices lie in the memory of `device`.

    Training rows are shuffled as a whole: seed and epoch decide the order, and nothing else.
    """

    def _open(self, path: Path) -> tuple[int, int]:
        arrays = read_matrices(path, self._fields)
        self._matrices = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        return len(data_files(path)), len(next(iter(arrays.values())))

    def _batches(self, epoch: int, start: int) -> Iterator[dict[str, Tensor]]:
        order = self._order(epoch) if self.shuffle else None
        for number in range(start, self.num_batches):
            rows = self._rows(number)
            if order is None:
                yield self._batch({name: matrix[rows] for name, matrix in self._matrices.items()})
            else:
                chosen = order[rows]
                yield self._batch({name: _gather(matrix, chosen) for name, matrix in self._matrices.items()})

    def _order(self, epoch: int) -> Tensor:
        """A permutation of the rows; drawn on the CPU, so that every device sees the same one."""
        seed = int(self._random_state(epoch).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        device = next(iter(self._matrices.values())).device
        return torch.randperm(self.num_samples, generator=generator).to(device)


def _gather(matrix: Tensor, rows: Tensor) -> Tensor:
    """Rows of a matrix. On the CPU by numpy, in this thread: waking torch's threads takes longer."""
    if matrix.device.type == "cpu":
        return torch.from_numpy(matrix.numpy().take(rows.numpy(), axis=0))
    return matrix.index_select(0, rows)
