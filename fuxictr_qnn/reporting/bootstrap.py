"""The bootstrap of AUC over the rows of a test split.

N rows in C clusters (the users where the data names them, else every row is its own), R resamples. Each
resample draws C clusters with replacement; all rows of a cluster count as often as it was drawn. All
models are measured on the same resamples, so that differences between them are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fuxictr_qnn.reporting.protocol import LEVEL
from fuxictr_qnn.training.metrics import group_auc

Array = np.ndarray

REPEATS = 1000
SEED = 2019
CHUNK = 128  # rows at a time: their weights in R resamples stay in the cache
TIED_ROWS = 4096  # likewise, about
TABLE_BYTES = 1 << 26  # of the weights of all clusters in a block of resamples


class RankedScores:
    """Scores of N rows, sorted once; AUC with any weights of their clusters.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,)
        clusters: (N,), numbers from 0 to C - 1; None: C = N.
    """

    def __init__(self, labels: Array, scores: Array, clusters: Array | None = None):
        labels = np.asarray(labels) > 0.5
        order = np.lexsort((labels, scores))  # negatives first within a tie: each tie counts as won
        self._positive = labels[order]
        self._cluster = (order if clusters is None else np.asarray(clusters)[order]).astype(np.int32)
        self._ties = _mixed_ties(scores[order], self._positive)

    def auc(self, weights: Array) -> Array:
        """AUC (R,) in R resamples; NaN in one without both classes.

        Args:
            weights: (C, R) float32, how often each cluster counts.
        """
        won, positives, negatives = (np.zeros(weights.shape[1]) for _ in range(3))
        below = np.tri(CHUNK, dtype=np.float32)
        for start in range(0, len(self._positive), CHUNK):
            rows = slice(start, start + CHUNK)
            positive = self._positive[rows]
            weight = weights[self._cluster[rows]]
            p, n = weight[positive], weight[~positive]
            near = below[: len(positive), : len(positive)][np.ix_(positive, ~positive)] @ n
            count = p.sum(axis=0, dtype=np.float64)
            won += np.einsum("ir,ir->r", p, near) + count * negatives
            positives += count
            negatives += n.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (won - self._half_of_ties(weights)) / (positives * negatives)

    def _half_of_ties(self, weights: Array) -> Array:
        """Half of the pairs whose scores are equal, in each resample."""
        half = np.zeros(weights.shape[1])
        for rows, starts in self._ties:
            weight = weights[self._cluster[rows]]
            both = np.add.reduceat(weight, starts, axis=0).astype(np.float64)
            positive = np.add.reduceat(weight * self._positive[rows, None], starts, axis=0)
            half += np.einsum("tr,tr->r", positive, both - positive) / 2
        return half


def _mixed_ties(scores: Array, positive: Array) -> list[tuple[Array, Array]]:
    """Rows whose score is also that of a row of the other class, and where each tie starts among them.

    In parts of some thousand rows. Scores are sorted, the negatives of a tie before its positives.
    """
    starts = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    ends = np.r_[starts[1:], len(scores)]
    mixed = ~positive[starts] & positive[ends - 1]
    starts, sizes = starts[mixed], (ends - starts)[mixed]
    parts = np.cumsum(sizes) // TIED_ROWS
    found = []
    for part in np.unique(parts):
        lengths, first = sizes[parts == part], starts[parts == part]
        offsets = np.cumsum(lengths) - lengths
        rows = np.arange(lengths.sum()) + np.repeat(first - offsets, lengths)
        found.append((rows, offsets))
    return found


class GroupScores:
    """Scores of N rows, for gAUC with any weights of the groups: their AUCs, weighted by their rows.

    Args:
        labels, scores: (N,)
        groups: (N,), numbers from 0 to C - 1.
    """

    def __init__(self, labels: Array, scores: Array, groups: Array):
        values, rows = group_auc(np.asarray(labels, dtype=np.float64), scores, groups)
        known = ~np.isnan(values)
        self._rows = np.where(known, rows, 0.0)
        self._won = np.where(known, rows * np.nan_to_num(values), 0.0)

    def auc(self, weights: Array) -> Array:
        """gAUC (R,) for weights (C, R)."""
        return (self._won @ weights) / (self._rows @ weights)


def resample(
    models: Sequence[RankedScores | GroupScores], clusters: int, repeats: int = REPEATS, seed: int = SEED
) -> Array:
    """(number of models, 1 + R): each model's AUC on the data as it is, then on R resamples of it."""
    rng = np.random.default_rng(seed)
    size = max(1, min(repeats, TABLE_BYTES // (4 * clusters)))
    found = [np.stack([model.auc(np.ones((clusters, 1), dtype=np.float32)) for model in models])]
    for start in range(0, repeats, size):
        weights = np.empty((clusters, min(size, repeats - start)), dtype=np.float32)
        for column in range(weights.shape[1]):
            drawn = rng.integers(clusters, size=clusters)
            weights[:, column] = np.bincount(drawn, minlength=clusters)
        found.append(np.stack([model.auc(weights) for model in models]))
    return np.concatenate(found, axis=1)


def interval(resamples: Array, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of what `resample` gave for a difference, its first value left out."""
    low, high = np.nanquantile(resamples[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
