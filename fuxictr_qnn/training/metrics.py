"""Ranking metrics, vectorised over rows and over groups.

N rows, G groups. Definitions follow FuxiCTR's names: gAUC weighs a group's AUC by its rows, avgAUC
weighs groups equally; both leave out groups with one class only. MRR and NDCG(k) average over all
groups, and rank tied scores by reversed input order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import numpy as np

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.grammar import is_dotted_path, metric, needs_groups

Array = np.ndarray


def auc(y: Array, p: Array) -> float:
    """Area under the ROC curve; ties count one half. NaN when `y` holds one class only."""
    return float(group_auc(y, p, np.zeros(len(y), dtype=np.int64))[0][0])


def logloss(y: Array, p: Array) -> float:
    """Mean binary cross-entropy in nats; probabilities are kept one float64 epsilon from 0 and 1."""
    epsilon = np.finfo(np.float64).eps
    p = np.clip(p, epsilon, 1 - epsilon)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def gauc(y: Array, p: Array, group: Array) -> float:
    """Mean AUC of the groups, weighted by their rows; groups with one class are left out."""
    values, rows = group_auc(y, p, group)
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=rows[known])) if known.any() else float("nan")


def avg_auc(y: Array, p: Array, group: Array) -> float:
    """Mean AUC of the groups, each with the same weight; groups with one class are left out."""
    values, _ = group_auc(y, p, group)
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else float("nan")


def mrr(y: Array, p: Array, group: Array) -> float:
    """Mean over groups of sum(y / rank) / sum(y), FuxiCTR's definition; 0 without a positive."""
    ids, rank, y = _ranked(y, p, group)
    gains = np.bincount(ids, weights=y / rank)
    return float(np.mean(gains / (np.bincount(ids, weights=y) + 1e-12)))


def ndcg(y: Array, p: Array, group: Array, k: int = 1) -> float:
    """Mean over groups of DCG at k over its best possible value; 0 without a positive."""

    def dcg(score: Array) -> Array:
        ids, rank, gain = _ranked(y, score, group)
        return np.bincount(ids, weights=np.where(rank <= k, (2**gain - 1) / np.log2(rank + 1), 0))

    return float(np.mean(dcg(p) / (dcg(y) + 1e-12)))


def mse(y: Array, p: Array) -> float:
    """Mean squared error."""
    return float(np.mean((y - p) ** 2))


def rmse(y: Array, p: Array) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(y, p)))


def mae(y: Array, p: Array) -> float:
    """Mean absolute error."""
    return float(np.mean(np.abs(y - p)))


ROW_METRICS: dict[str, Callable[[Array, Array], float]] = {
    "AUC": auc,
    "logloss": logloss,
    "binary_crossentropy": logloss,
    "MSE": mse,
    "RMSE": rmse,
    "MAE": mae,
}
GROUP_METRICS: dict[str, Callable[..., float]] = {"gAUC": gauc, "avgAUC": avg_auc, "MRR": mrr, "NDCG": ndcg}


def evaluate_metrics(
    y: Array, p: Array, names: Sequence[str], group: Array | None = None
) -> dict[str, float]:
    """Each metric of `names` for labels y and predictions p, both (N,), and group ids (N,).

    Raises:
        RequestError: an unknown metric, or a group metric without `group`.
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    values = {}
    for name in names:
        function, _, cutoff = _known(name).partition("(")
        if needs_groups(name):
            if group is None:
                raise RequestError(f"metrics: {name} needs group_id in the dataset config")
            options = {"k": int(cutoff.strip("k=)"))} if cutoff else {}
            values[name] = GROUP_METRICS[function](y, p, group, **options)
        elif is_dotted_path(name):
            values[name] = float(_imported(name)(y, p))
        else:
            values[name] = ROW_METRICS[name](y, p)
    return values


def check_metrics(names: Sequence[str]) -> None:
    """Refuse, before anything is trained, a metric that is unknown or cannot be imported."""
    for name in names:
        if is_dotted_path(_known(name)):
            _imported(name)


def _known(name: str) -> str:
    try:
        return metric(name)
    except ValueError as error:
        raise RequestError(f"metrics: {name}: {error}") from error


def _imported(path: str) -> Callable[[Array, Array], float]:
    module, _, function = path.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RequestError(f"metrics: {path} cannot be imported: {error}") from error


def group_auc(y: Array, p: Array, group: Array) -> tuple[Array, Array]:
    """AUC (NaN with one class) and rows of each group, by the rank-sum formula with mid-ranks."""
    _, ids = np.unique(group, return_inverse=True)
    order = np.lexsort((p, ids))
    ids, p, y = ids[order], p[order], y[order]
    first = np.r_[True, (ids[1:] != ids[:-1]) | (p[1:] != p[:-1])]  # the first row of each tie
    tie = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    ends = np.r_[starts[1:], len(p)]
    rows = np.bincount(ids)
    offset = np.r_[0, np.cumsum(rows)[:-1]]
    mid_rank = ((starts + ends + 1) / 2)[tie] - offset[ids]
    positives = np.bincount(ids, weights=y)
    negatives = rows - positives
    rank_sum = np.bincount(ids, weights=mid_rank * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
    values[(positives == 0) | (negatives == 0)] = np.nan
    return values, rows


def _ranked(y: Array, score: Array, group: Array) -> tuple[Array, Array, Array]:
    """Rows sorted by group and falling score: group index, rank from 1, label."""
    _, ids = np.unique(group, return_inverse=True)
    order = np.lexsort((-np.arange(len(score)), -np.asarray(score, dtype=np.float64), ids))
    ids = ids[order]
    offset = np.r_[0, np.cumsum(np.bincount(ids))[:-1]]
    return ids, np.arange(len(ids)) - offset[ids] + 1, y[order]
