"""A random sample of rows, drawn while they pass by."""

from __future__ import annotations

import numpy as np

from fuxictr_qnn.data.quality.audit.hashing import numbered


class Sample:
    """The rows whose random numbers are the `size` smallest: the same ones in every run, without replacement.

    Attributes:
        columns: name -> values of the sampled rows, in random order; after `close`.
    """

    def __init__(self, size: int):
        self.size = size
        self.columns: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, np.ndarray]] = []
        self._held = 0
        self._limit = np.uint64(2**64 - 1)

    def add(self, first: int, columns: dict[str, np.ndarray]) -> None:
        """Consider one more block, whose first row has the number `first`."""
        rows = len(next(iter(columns.values())))
        numbers = numbered(first, rows, stream=1)
        chosen = np.flatnonzero(numbers <= self._limit)
        part = {name: values[chosen] for name, values in columns.items()}
        self._parts.append({"": numbers[chosen], **part})
        self._held += len(chosen)
        if self._held > 2 * self.size:
            self._thin()

    def close(self) -> None:
        """No more blocks: put the sample in order."""
        self._thin()
        self.columns = self._parts[0] if self._parts else {}
        self.columns.pop("", None)
        self._parts = []

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def _thin(self) -> None:
        if not self._parts:
            return
        whole = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        order = np.argsort(whole[""])[: self.size]
        self._parts = [{name: values[order] for name, values in whole.items()}]
        self._held = len(order)
        if self._held == self.size:
            self._limit = self._parts[0][""][-1]
