"""Which rows and which batches belong to which worker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any


def rows_of(count: int, rank: int, size: int) -> range:
    """One of `size` contiguous parts of 0 ... count - 1, whose lengths differ by one at most."""
    return range(count * rank // size, count * (rank + 1) // size)


class Part:
    """The batches of a loader that one of several workers scores: whole ones, in order, one after another.

    Whole batches, so that each is computed as a single worker computes it.
    """

    def __init__(self, loader: Any, rank: int, size: int):
        self._loader, self._numbers = loader, rows_of(len(loader), rank, size)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        start = self._numbers.start
        if hasattr(self._loader, "batches"):  # skips what lies before
            return islice(self._loader.batches(start), len(self))
        return islice(iter(self._loader), start, self._numbers.stop)
