"""Shift: how well can training rows be told from those of valid and test, and by which features?

Naive Bayes on samples of equal size: a row's score is the sum over features of log((b + A) / (a + A)),
where a and b count the feature's value among the rows of training and of the other split, in one half
of the samples; the AUC is that of the other half. Numbers are cut at the quantiles of both samples
together. Meta columns and vectors are left out.
"""

from __future__ import annotations

import numpy as np

from fuxictr_qnn.data.quality.audit.counts import auc, auc_error
from fuxictr_qnn.data.quality.audit.finding import SHIFT_NOTE, SHIFT_WARNING, SURE, Finding
from fuxictr_qnn.data.quality.audit.gathering import LENGTH, Gathered
from fuxictr_qnn.data.quality.audit.rows import NUMBER, TOKENS, VALUE

SMOOTHING = 5.0  # A: values of few rows say little
BINS = 64


def shift(found: Gathered) -> list[Finding]:
    """AUC of telling each split from training."""
    return [finding for name in found.others if (finding := _shift(found, name))]


def _shift(found: Gathered, name: str) -> Finding | None:
    train, other = found.splits["train"].sample, found.splits[name].sample
    rows = min(len(train), len(other)) // 2 * 2
    features = [column.name for column in found.columns(VALUE, TOKENS, NUMBER)]
    features += [LENGTH] if LENGTH in train.columns else []
    if rows < 4 or not features:
        return None
    numeric = {column.name for column in found.columns(NUMBER)}
    total, aucs = np.zeros(rows), {}
    for feature in features:
        a, b = train.columns[feature][:rows], other.columns[feature][:rows]
        score = _scores(*(_binned(a, b) if feature in numeric else (a, b)))
        aucs[feature] = _auc(score)
        total += score
    together, error = _auc(total), auc_error(rows / 2, rows / 2)
    drivers = sorted((feature for feature in features), key=lambda feature: -aucs[feature])
    drivers = [feature for feature in drivers if aucs[feature] - 0.5 >= SURE * error][:4]
    numbers = {"split": name, "auc": together, "sampled_rows": rows, "by_feature": aucs}
    sure = together - 0.5 >= SURE * error
    said = f"train and {name} are told apart with AUC {together:.3f} (samples of {rows:,} rows each)"
    if not sure or together < SHIFT_NOTE:
        return Finding("shift", "ok", said, numbers)
    by = ", ".join(f"{feature} {aucs[feature]:.3f}" for feature in drivers)
    severity = "warning" if together >= SHIFT_WARNING else "note"
    cause = f"; most by {by} (AUC of each alone)" if by else "; by no feature alone"
    return Finding("shift", severity, said + cause, numbers)


def _scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Log ratios of the second half of a, then of the second half of b, by counts of the first halves."""
    middle = len(a) // 2
    _, code = np.unique(np.concatenate([a, b]), return_inverse=True)
    code_a, code_b = code[: len(a)], code[len(a) :]
    counts = [np.bincount(part[:middle], minlength=code.max() + 1) for part in (code_a, code_b)]
    ratio = np.log((counts[1] + SMOOTHING) / (counts[0] + SMOOTHING))
    return np.concatenate([ratio[code_a[middle:]], ratio[code_b[middle:]]])


def _auc(score: np.ndarray) -> float:
    is_b = np.arange(len(score)) >= len(score) // 2
    return auc(score, is_b.astype(np.float64), (~is_b).astype(np.float64))


def _binned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of both together; a missing number has its own."""
    both = np.concatenate([a, b])
    known = both[np.isfinite(both)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.empty(0)
    bins = np.where(np.isnan(both), -1, np.searchsorted(edges, both, side="right"))
    return bins[: len(a)], bins[len(a) :]
