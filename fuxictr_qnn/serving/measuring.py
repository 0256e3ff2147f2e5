"""Metrics of rows that come block by block, in memory that does not grow with them where that is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from fuxictr_qnn.grammar import needs_groups
from fuxictr_qnn.training.metrics import auc, evaluate_metrics, logloss, mae, mse

Array = np.ndarray


class Measure(Protocol):
    """A metric that is added up."""

    def add(self, y: Array, p: Array) -> None: ...

    def value(self) -> float: ...


class Mean:
    """A metric that is a mean over rows, and what becomes of the mean in the end."""

    def __init__(self, of_rows: Callable[[Array, Array], float], end: Callable[[float], float] = float):
        self._of_rows, self._end = of_rows, end
        self._total, self._rows = 0.0, 0

    def add(self, y: Array, p: Array) -> None:
        self._total += self._of_rows(y, p) * len(y)
        self._rows += len(y)

    def value(self) -> float:
        return self._end(self._total / self._rows)


class StreamedAuc:
    """AUC, exact up to EXACT rows; of more, probabilities in a bin of relative width 2^-14 count as ties.

    That is off by at most half the share of the pairs of a click and a non-click that fall into one bin, and
    by far less in practice, as such pairs are in order about as often as not. At most 32 MiB of bins.
    """

    EXACT = 2_000_000
    _BITS = 9  # of a float32's 23 that are left out
    _BINS = int(np.float32(1).view(np.int32) >> _BITS) + 1

    def __init__(self) -> None:
        self._kept: list[tuple[Array, Array]] = []
        self._rows = 0
        self._counts: Array | None = None  # (2, bins): non-clicks and clicks

    def add(self, y: Array, p: Array) -> None:
        self._kept.append((y, p))
        self._rows += len(y)
        if self._rows > self.EXACT:
            if self._counts is None:
                self._counts = np.zeros((2, self._BINS), np.int64)
            for kept in self._kept:
                self._count(*kept)
            self._kept.clear()

    def _count(self, y: Array, p: Array) -> None:
        bins = np.asarray(p, np.float32).view(np.int32) >> self._BITS  # the bits of floats >= 0 are in order
        for label, counts in enumerate(self._counts):
            some = bins[y == label]
            if len(some):
                first = int(some.min())
                found = np.bincount(some - first)
                counts[first : first + len(found)] += found

    def value(self) -> float:
        if self._counts is None:
            return auc(*(np.concatenate(parts) for parts in zip(*self._kept, strict=True)))
        negatives, positives = self._counts.astype(np.float64)
        pairs = negatives.sum() * positives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs else math.nan


_ADDED: dict[str, Callable[[], Measure]] = {
    "AUC": StreamedAuc,
    "logloss": lambda: Mean(logloss),
    "binary_crossentropy": lambda: Mean(logloss),
    "MSE": lambda: Mean(mse),
    "RMSE": lambda: Mean(mse, math.sqrt),
    "MAE": lambda: Mean(mae),
}


class Measures:
    """The metrics of a run, of labels and predictions that come block by block.

    Those of groups, and functions from elsewhere, need all rows together: 24 bytes a row.

    Args:
        names: of the metrics; those of groups are left out where `groups` is false.
    """

    def __init__(self, names: Iterable[str], groups: bool):
        names = [name for name in names if groups or not needs_groups(name)]
        self._added = {name: _ADDED[name]() for name in names if name in _ADDED}
        self._whole = [name for name in names if name not in _ADDED]
        self._names, self._rows = names, 0
        self._kept: list[tuple[Array, ...]] = []
        self._codes: dict[object, int] = {}

    def add(self, y: Array, p: Array, group: Iterable[object] | None = None) -> None:
        """One more block: labels and predictions (rows,), and the group of each row."""
        self._rows += len(y)
        for measure in self._added.values():
            measure.add(y, p)
        if self._whole:
            codes = [] if group is None else [self._codes.setdefault(one, len(self._codes)) for one in group]
            self._kept.append((y, p, np.array(codes, np.int64)))

    def values(self) -> dict[str, float]:
        """The metrics in the order of their names; those that these labels do not define are left out."""
        if not self._rows:
            return {}
        found = {name: measure.value() for name, measure in self._added.items()}
        if self._whole:
            y, p, group = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
            found |= evaluate_metrics(y, p, self._whole, group if len(group) else None)
        return {name: found[name] for name in self._names if not math.isnan(found[name])}
