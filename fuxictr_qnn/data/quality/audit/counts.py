"""How often each value came with which label: counted block by block, and what can be read from that.

A value is named by 62 bits of its hash: of 100 million different ones, two are confused with a
probability of 0.001.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from fuxictr_qnn.data.quality.audit.hashing import SEED

NUMBERS = ("n0", "p0", "n1", "p1")  # rows and positives, in either half of the rows
PRIOR_ROWS = 10.0  # a value's positive rate is drawn to the mean as if by so many rows


class Counts:
    """Of each value: rows and positives in both halves of a split.

    Kept as one number for each value, half and label (the latter two in its lowest bits) and its count.
    """

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._merged = 0

    def add(self, values: np.ndarray, half: np.ndarray, positive: np.ndarray) -> None:
        """Count one more block.

        Args:
            values: hashes, shape (rows,).
            half, positive: of each row, bool.
        """
        code = half.astype(np.uint64) << np.uint64(1) | positive.astype(np.uint64)
        self._append(pl.Series("value", masked(values) | code).value_counts(name="rows"))

    def add_cells(self, cells: pl.Series) -> None:
        """Count one more block of cells whose labels do not matter."""
        counted = cells.alias("value").value_counts(name="rows")
        self._append(
            counted.select(pl.Series("value", masked(counted["value"].hash(SEED).to_numpy())), "rows")
        )

    def table(self) -> pl.DataFrame:
        """Columns value, n0, p0, n1, p1, each value once, by rising hash."""
        self._merge()
        if not self._parts:
            return pl.DataFrame(schema={"value": pl.UInt64} | dict.fromkeys(NUMBERS, pl.UInt32))
        code, rows = pl.col("value") & 3, pl.col("rows")

        def where(*codes: int) -> pl.Expr:
            return rows.filter(code.is_in(codes)).sum().cast(pl.UInt32)

        value = pl.col("value") - code
        counted = self._parts[0].group_by(value.alias("value")).agg(
            n0=where(0, 1), p0=where(1), n1=where(2, 3), p1=where(3)
        )  # fmt: skip
        return counted.sort("value")

    def _append(self, part: pl.DataFrame) -> None:
        self._parts.append(part)
        fresh = sum(part.height for part in self._parts) - self._merged
        if len(self._parts) > 1 and fresh > max(self._merged, 1_000_000):
            self._merge()

    def _merge(self) -> None:
        if len(self._parts) > 1:
            self._parts = [pl.concat(self._parts).group_by("value").agg(pl.col("rows").sum())]
            self._merged = self._parts[0].height


def masked(values: np.ndarray) -> np.ndarray:
    """Hashes without their two lowest bits, as tables have them."""
    return values & ~np.uint64(3)


def total(table: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positives of each value, of both halves together."""
    columns = {name: table[name].to_numpy().astype(np.float64) for name in NUMBERS}
    return columns["n0"] + columns["n1"], columns["p0"] + columns["p1"]


def look_up(table: pl.DataFrame, values: np.ndarray, numbers: np.ndarray, default: float) -> np.ndarray:
    """For each of `values`, the entry of `numbers` (one a row of the table), or the default."""
    known = table["value"].to_numpy()
    if not len(known):
        return np.full(len(values), default)
    at = np.searchsorted(known, values)
    at[at == len(known)] = 0
    return np.where(known[at] == values, numbers[at], default)


def encoding(rows: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, float]:
    """Target-mean encoding: (positives + PRIOR_ROWS * rate) / (rows + PRIOR_ROWS), and the rate."""
    rate = positives.sum() / max(rows.sum(), 1)
    return (positives + PRIOR_ROWS * rate) / (rows + PRIOR_ROWS), float(rate)


def held_out_auc(table: pl.DataFrame) -> float:
    """AUC of the values' positive rates in one half of the rows, on the other half; the mean of both ways."""
    columns = [table[name].to_numpy().astype(np.float64) for name in NUMBERS]
    aucs = []
    for (n, p), (rows, positives) in ((columns[:2], columns[2:]), (columns[2:], columns[:2])):
        score, _ = encoding(rows, positives)
        aucs.append(auc(score, p, n - p))
    return float(np.mean(aucs))


def carried_auc(train: pl.DataFrame, other: pl.DataFrame) -> float:
    """AUC of a value's positive rate in training as a score of another split's rows."""
    score, rate = encoding(*total(train))
    rows, positives = total(other)
    return auc(look_up(train, other["value"].to_numpy(), score, rate), positives, rows - positives)


def auc(score: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the ROC curve of groups of rows that share a score; ties count half, nan for one class.

    Args:
        score, positives, negatives: of each group, shape (groups,); groups may share a score.
    """
    _, group = np.unique(score, return_inverse=True)
    p, n = np.bincount(group, positives), np.bincount(group, negatives)
    if not p.sum() or not n.sum():
        return math.nan
    below = np.cumsum(n) - n
    return float((p * (below + n / 2)).sum() / (p.sum() * n.sum()))


def auc_error(positives: float, negatives: float) -> float:
    """The standard error of an AUC of scores that know nothing."""
    if not positives or not negatives:
        return math.inf
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
