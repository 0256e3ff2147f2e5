"""A split that stays on disk: a few row groups in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fuxictr_qnn.data.loaders.batches import Loader
from fuxictr_qnn.data.loaders.storage import Part, empty_matrices, fill, open_parts, row_bytes

BUFFER_BYTES = 512 << 20  # rows that are shuffled together
READ_AHEAD_BYTES = 32 << 20  # where the order is kept, more would only take memory
_PLACE_BYTES = 8  # a row's place within its window


class _Piece(NamedTuple):
    """A row group of a file (or what stands for one: 65,536 rows of h5, a whole npz file)."""

    part: Part
    number: int
    rows: int


class StreamingLoader(Loader):
    """A Loader of data that does not fit into memory.

    An epoch is cut into windows, which a thread reads ahead one by one. Two windows are in memory at most:
    the one that batches come from and the next one. A batch may span windows.

    Training rows are shuffled (if asked) so: the row groups of all files in random order, as many of them
    as fit into `buffer_bytes` form a window, the rows of a window in random order. With w row groups in a
    window out of g, every batch is drawn from w groups anywhere in the data, and two rows of one group lie
    at most a fraction w / g of the epoch apart. In data sorted by label, the share of positives in a
    window has the standard deviation sqrt(p (1 - p) (1 - w / g) / w): 0.05 for w = 80, p = 0.25.

    The order depends on seed, epoch, the rows of a window and the files' row groups, and on nothing else. A
    window has `buffer_bytes` divided by the bytes of a row: fewer features in use make longer windows. To
    begin an epoch at batch k, what lies before it is not read, up to a part of a window.

    Args: as Loader's, and
        buffer_bytes: size of a window; at least one row group is in it.

    Attributes:
        window_rows: how many rows fit into a window.
    """

    def __init__(
        self, feature_map: Any, data_path: str | Path, *, buffer_bytes: int = BUFFER_BYTES, **keys: Any
    ):
        self._buffer_bytes = buffer_bytes
        super().__init__(feature_map, data_path, **keys)

    def _open(self, path: Path) -> tuple[int, int]:
        parts = open_parts(path, self._fields)
        self._pieces = [
            _Piece(part, number, rows) for part in parts for number, rows in enumerate(part.pieces) if rows
        ]
        window_bytes = self._buffer_bytes if self.shuffle else min(self._buffer_bytes, READ_AHEAD_BYTES)
        self.window_rows = max(1, int(window_bytes // (row_bytes(self._fields) + _PLACE_BYTES)))
        largest = max((piece.rows for piece in self._pieces), default=0)
        if self.shuffle and largest > self.window_rows:
            self.warnings.append(
                f"a row group of '{path}' holds {largest:,} rows, more than the {self.window_rows:,} that "
                "memory_budget allows at a time: row groups are shuffled one by one, and take more memory"
            )
        return len(parts), sum(piece.rows for piece in self._pieces)

    def _batches(self, epoch: int, start: int) -> Iterator[dict[str, Tensor]]:
        if start >= self.num_batches:
            return
        windows = self._windows(epoch)
        ends = np.cumsum([sum(piece.rows for piece in window) for window in windows])
        first = int(np.searchsorted(ends, self._starts[start], side="right"))
        skipped = self._starts[start] - (int(ends[first - 1]) if first else 0)
        rows = _Rows(self._read_ahead(epoch, windows, first))
        try:
            rows.skip(skipped)
            for number in range(start, self.num_batches):
                places = self._rows(number)
                parts = rows.take(places.stop - places.start)
                yield self._batch({name: part.to(self.device) for name, part in parts.items()})
        finally:
            rows.close()

    def _windows(self, epoch: int) -> list[list[_Piece]]:
        """The epoch's pieces in their order, those together that fit into the buffer."""
        order = range(len(self._pieces))
        if self.shuffle:
            order = np.random.default_rng(self._random_state(epoch)).permutation(len(self._pieces))
        windows: list[list[_Piece]] = []
        room = 0
        for piece in (self._pieces[at] for at in order):
            if piece.rows > room:
                windows.append([])
                room = max(self.window_rows, piece.rows)
            windows[-1].append(piece)
            room -= piece.rows
        return windows

    def _read_ahead(self, epoch: int, windows: list[list[_Piece]], first: int) -> Iterator[dict[str, Tensor]]:
        """The windows from number `first` on; the next one is read while one is in use."""
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
            reading = thread.submit(self._read, epoch, first, windows[first])
            for number in range(first, len(windows)):
                window = reading.result()
                if number + 1 < len(windows):
                    reading = thread.submit(self._read, epoch, number + 1, windows[number + 1])
                else:
                    reading = None
                yield window
                del window

    def _read(self, epoch: int, number: int, pieces: list[_Piece]) -> dict[str, Tensor]:
        """The matrices of a window, its rows in their final order."""
        rows = sum(piece.rows for piece in pieces)
        matrices = empty_matrices(rows, self._fields)
        places = None
        if self.shuffle:
            places = np.random.default_rng(self._random_state(epoch, number)).permutation(rows)
        start = 0
        for piece in pieces:
            for height, columns in piece.part.blocks([piece.number]):
                if places is None:
                    fill(matrices, start, height, columns, self._fields, piece.part.file)
                else:
                    block = empty_matrices(height, self._fields)
                    fill(block, 0, height, columns, self._fields, piece.part.file)
                    for name, matrix in matrices.items():
                        matrix[places[start : start + height]] = block[name]
                start += height
        return {name: torch.from_numpy(matrix) for name, matrix in matrices.items()}


class _Rows:
    """The rows of one window after another, any number at a time."""

    def __init__(self, windows: Iterator[dict[str, Tensor]]):
        self._windows = windows
        self._window: dict[str, Tensor] | None = None
        self._at = 0

    def skip(self, count: int) -> None:
        """Leave out rows of the first window."""
        self._at = count

    def take(self, count: int) -> dict[str, Tensor]:
        """The next rows, copied: nobody who keeps a batch keeps its window."""
        taken = []
        while count:
            if self._window is None:
                self._window = next(self._windows)
            height = len(next(iter(self._window.values())))
            some = min(count, height - self._at)
            rows = slice(self._at, self._at + some)
            taken.append({name: matrix[rows].clone() for name, matrix in self._window.items()})
            self._at += some
            count -= some
            if self._at == height:
                self._window, self._at = None, 0
        if len(taken) == 1:
            return taken[0]
        return {name: torch.cat([part[name] for part in taken]) for name in taken[0]}

    def close(self) -> None:
        self._window = None
        self._windows.close()
