"""Features that give the label away: how well does each one order the rows, alone?

A categorical feature is scored by its values' positive rate in training, drawn to the mean (counts.py),
over all rows; within training, one half of the rows is scored by the rates of the other half. A numeric
one is scored by its size and by the rates of its quantiles, on the samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fuxictr_qnn.data.quality.audit.counts import auc, auc_error, carried_auc, encoding, held_out_auc
from fuxictr_qnn.data.quality.audit.finding import (
    FADING_WARNING,
    LEAK_GAP,
    LEAK_SEVERE,
    LEAK_WARNING,
    SURE,
    Finding,
)
from fuxictr_qnn.data.quality.audit.gathering import ITEM_IN_HISTORY, LENGTH, Gathered
from fuxictr_qnn.data.quality.audit.rows import NUMBER, TOKENS, VALUE

BINS = 64  # quantiles of a numeric feature


@dataclass(frozen=True)
class Single:
    """How well one feature alone tells the label: AUC by split; nan where a split has one class."""

    name: str
    aucs: dict[str, float]

    @property
    def best(self) -> float:
        return max((value for value in self.aucs.values() if not math.isnan(value)), default=math.nan)


def single_features(found: Gathered) -> list[Finding]:
    """Features that know the label nearly alone, far better than all others, or only in training."""
    singles = sorted(_singles(found), key=lambda single: -single.best if not math.isnan(single.best) else 0)
    singles = [single for single in singles if not math.isnan(single.best)]
    if not singles:
        return []
    findings = [_verdict(single, singles, found) for single in singles]
    findings = [finding for finding in findings if finding]
    findings += [finding for single in singles if (finding := _fading(single, found))]
    tops = ", ".join(f"{single.name} {_words(single)}" for single in singles[:3])
    numbers = {"auc": {single.name: single.aucs for single in singles}}
    findings.append(Finding("single features", "ok", f"AUC of the best features alone: {tops}", numbers))
    return findings


def _verdict(single: Single, singles: list[Single], found: Gathered) -> Finding | None:
    aucs = [value for split, value in single.aucs.items() if _is_sure(value, split, found)]
    if not aucs:
        return None
    best, others = max(aucs), [other.best for other in singles if other.name != single.name]
    numbers = {"feature": single.name, "auc": single.aucs, "next_best": max(others, default=math.nan)}
    if best >= LEAK_SEVERE:
        sentence = (
            f"{single.name} alone gives AUC {_words(single)}: it knows the label. Is it made from the label, "
            "or known only after it? Leave it out, or find out why"
        )
        return Finding("label leak", "severe", sentence, numbers)
    if best >= LEAK_WARNING and others and 1 - best < LEAK_GAP * (1 - max(others)):
        sentence = (
            f"{single.name} alone gives AUC {_words(single)}, the next best feature {max(others):.3f}: is it "
            "known before the label? Or were negatives drawn so that it tells them apart?"
        )
        return Finding("label leak", "warning", sentence, numbers)
    return None


def _fading(single: Single, found: Gathered) -> Finding | None:
    """Training's AUC far above a later split's."""
    train = single.aucs["train"]
    for split in found.others:
        later = single.aucs.get(split, math.nan)
        error = _error(split, found)
        if train - later >= max(FADING_WARNING, SURE * error):  # nan is not
            sentence = (
                f"{single.name} alone gives AUC {train:.3f} in training (on rows it was not fitted on) but "
                f"{later:.3f} in {split}: its values or their meaning changed, or it was counted from labels "
                "of training"
            )
            return Finding(
                "fading feature", "warning", sentence, {"feature": single.name, "auc": single.aucs}
            )
    return None


def _is_sure(value: float, split: str, found: Gathered) -> bool:
    return value - 0.5 >= SURE * _error(split, found)


def _error(split: str, found: Gathered) -> float:
    positives = found.splits[split].positives
    return auc_error(positives, found.splits[split].rows - positives)


def _words(single: Single) -> str:
    return " / ".join(f"{value:.3f} ({split})" for split, value in single.aucs.items())


def _singles(found: Gathered) -> list[Single]:
    train = found.splits["train"]
    singles = []
    names = [column.name for column in found.columns(VALUE, TOKENS)]
    names += [name for name in (ITEM_IN_HISTORY, LENGTH) if name in train.counts]
    for name in names:
        aucs = {"train": held_out_auc(train.counts[name])}
        aucs |= {
            split: carried_auc(train.counts[name], other.counts[name])
            for split, other in found.others.items()
        }
        singles.append(Single(name, aucs))
    for column in found.columns(TOKENS):
        tokens = train.tokens[column.name]
        aucs = {"train": held_out_auc(tokens)}
        aucs |= {
            split: carried_auc(tokens, other.tokens[column.name]) for split, other in found.others.items()
        }
        singles.append(Single(f"tokens of {column.name}", aucs))
    for column in found.columns(NUMBER):
        singles.append(Single(f"size of {column.name}", _by_size(found, column.name)))
        singles.append(Single(f"quantile of {column.name}", _by_quantile(found, column.name)))
    return singles


def _sampled(found: Gathered, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A numeric column (missing: below all others) and whether rows are positive."""
    columns = found.splits[split].sample.columns
    return np.nan_to_num(columns[name], nan=-np.inf), columns["label"].astype(np.float64)


def _by_size(found: Gathered, name: str) -> dict[str, float]:
    """Larger or smaller is positive: whichever it is in training."""
    aucs = {}
    for split in found.splits:
        values, label = _sampled(found, split, name)
        aucs[split] = auc(values, label, 1 - label)
    return aucs if not aucs["train"] < 0.5 else {split: 1 - value for split, value in aucs.items()}


def _by_quantile(found: Gathered, name: str) -> dict[str, float]:
    values, label = _sampled(found, "train", name)
    known = values[np.isfinite(values)]
    if not len(known):
        return {"train": math.nan}
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))

    def counts(values: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bins = np.searchsorted(edges, values, side="right")
        return np.bincount(bins, minlength=len(edges) + 1), np.bincount(bins, label, len(edges) + 1)

    middle = len(values) // 2
    first, second = (counts(values[part], label[part]) for part in (slice(middle), slice(middle, None)))
    held_out = [
        auc(encoding(*fitted)[0], scored[1], scored[0] - scored[1])
        for fitted, scored in ((first, second), (second, first))
    ]
    score, _ = encoding(first[0] + second[0], first[1] + second[1])
    aucs = {"train": float(np.mean(held_out))}
    for split in found.others:
        rows, positives = counts(*_sampled(found, split, name))
        aucs[split] = auc(score, positives, rows - positives)
    return aucs
