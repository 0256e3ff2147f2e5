"""Rows that occur more than once: within a split, across splits, and with both labels.

Rows are compared by the hashes of all their columns, meta columns included: exactly but for collisions of
62 bits, of which 100 million different rows have 0.001 on average.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from fuxictr_qnn.data.quality.audit.finding import (
    CONFLICTS_NOTE,
    COPIES_LEAST,
    COPIES_NOTE,
    COPIES_OVER_CHANCE,
    COPIES_WARNING,
    SHARED_SEVERE,
    SURE,
    Finding,
    percent,
)
from fuxictr_qnn.data.quality.audit.gathering import Gathered, Split
from fuxictr_qnn.data.quality.audit.hashing import NEGATIVE, POSITIVE, together
from fuxictr_qnn.data.quality.audit.sample import Sample

BLOCK = 1 << 20  # keys looked up at once


def copies(found: Gathered) -> list[Finding]:
    """Rows of a split that repeat an earlier row of it, features and label."""
    findings = []
    for name, split in found.splits.items():
        distinct, largest = _distinct(split.keys)
        extra = split.rows - distinct
        share = extra / split.rows
        numbers = {"split": name, "rows": split.rows, "copies": extra, "share": share}
        numbers |= {"most_copies_of_one": largest}
        if not extra:
            findings.append(Finding("copies", "ok", f"{name}: no row occurs twice", numbers))
            continue
        chance = numbers["by_chance"] = _copies_by_chance(split)
        severity = _severity(share, extra, chance)
        sentence = (
            f"{name}: {extra:,} of {split.rows:,} rows ({percent(share)}) repeat another one, features and "
            f"label; one row stands {largest:,} times; by chance {_about(chance)} would"
        )
        if severity == "warning":
            sentence += ". They weigh more than others, and a random cut puts them on both sides"
        findings.append(Finding("copies", severity, sentence, numbers))
    return findings


def shared_rows(found: Gathered) -> list[Finding]:
    """Rows of one split that stand in another one, features and label."""
    return [_shared(found, a, b) for a, b in combinations(found.splits, 2)]


def _shared(found: Gathered, first: str, second: str) -> Finding:
    """Of two splits, how much of either is in the other."""
    keys = {name: found.splits[name].keys for name in (first, second)}
    same_files = found.data.splits[first] == found.data.splits[second]
    inside = {first: _rows_inside(keys[first], keys[second]), second: _rows_inside(keys[second], keys[first])}
    numbers = {f"{name}_rows_shared": count for name, count in inside.items()}
    share = {name: inside[name] / len(keys[name]) for name in inside}
    numbers |= {f"{name}_share": value for name, value in share.items()}
    if np.array_equal(keys[first], keys[second]):
        why = "the same file" if same_files else "in the same or another order"
        what = "choosing by validation chooses by the test" if first != "train" else "nothing was held out"
        sentence = (
            f"{first} and {second} hold the same {len(keys[first]):,} rows ({why}): {what}; cut another split"
        )
        return Finding("shared rows", "severe", sentence, numbers)
    inner, outer = (first, second) if share[first] > share[second] else (second, first)
    if not inside[inner]:
        sentence = f"no row of {inner} stands in {outer}"
        return Finding("shared rows", "ok", sentence, numbers)
    # What a random cut would give: the rows of the larger split that repeat within it.
    usual = _repeating(keys[outer]) / len(keys[outer])
    numbers["repeating_within_" + outer] = usual
    count = f"{inside[inner]:,} of {len(keys[inner]):,} rows of {inner} ({percent(share[inner])})"
    middle = (share[inner] + usual) / 2
    error = math.sqrt(middle * (1 - middle) * (1 / len(keys[inner]) + 1 / len(keys[outer])))
    if share[inner] - usual >= max(SHARED_SEVERE, SURE * error):
        if share[inner] == 1:
            count = f"all {len(keys[inner]):,} rows of {inner}"
        sentence = (
            f"{count} stand in {outer}, too, features and label, but only {percent(usual)} of {outer}'s rows "
            f"repeat within it: rows were copied from one to the other; cut the splits again"
        )
        return Finding("shared rows", "severe", sentence, numbers)
    chance = _shared_by_chance(found.splits[inner], found.splits[outer])
    numbers["by_chance"] = chance
    sentence = (
        f"{count} stand in {outer}, too, features and label; within {outer}, {percent(usual)} repeat; "
        f"by chance {_about(chance)} would stand there"
    )
    severity = _severity(share[inner], inside[inner], chance)
    if severity == "warning":
        sentence += ". Their labels can be learnt by heart; put equal rows into one split"
    return Finding("shared rows", severity, sentence, numbers)


def _severity(share: float, count: int, chance: float) -> str:
    """Of so many equal rows, where independent columns would give `chance`."""
    if share < COPIES_NOTE or count < COPIES_LEAST:
        return "ok"
    return "warning" if share >= COPIES_WARNING and count > COPIES_OVER_CHANCE * chance else "note"


def conflicts(found: Gathered) -> list[Finding]:
    """Rows of a split with the same features and both labels: what no model can get right."""
    findings = []
    for name, split in found.splits.items():
        rows, least_errors = _conflicting(split.keys)
        share = rows / split.rows
        numbers = {"split": name, "rows": rows, "share": share, "least_errors": least_errors}
        sentence = (
            f"{name}: {rows:,} rows ({percent(share)}) have the features of a row with the other label; any "
            f"model gets at least {least_errors:,} of them wrong"
        )
        if not rows:
            sentence = f"{name}: rows with equal features have equal labels"
        severity = "note" if share >= CONFLICTS_NOTE else "ok"
        findings.append(Finding("label conflicts", severity, sentence, numbers))
    return findings


def _starts(sorted_keys: np.ndarray) -> np.ndarray:
    """Where each different key begins."""
    return np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))


def _distinct(keys: np.ndarray) -> tuple[int, int]:
    """How many different keys there are, and how often the most frequent one occurs."""
    starts = _starts(keys)
    return len(starts), int(np.diff(starts, append=len(keys)).max())


def _repeating(keys: np.ndarray) -> int:
    """Rows whose key occurs at least twice."""
    times = np.diff(_starts(keys), append=len(keys))
    return int(times[times > 1].sum())


def _rows_inside(keys: np.ndarray, others: np.ndarray) -> int:
    """How many of `keys` are among `others`; both sorted."""
    count = 0
    for start in range(0, len(keys), BLOCK):
        some = keys[start : start + BLOCK]
        at = np.searchsorted(others, some)
        at[at == len(others)] = 0
        count += int((others[at] == some).sum())
    return count


def _conflicting(keys: np.ndarray) -> tuple[int, int]:
    """Rows whose features occur with both labels, and of those the fewer ones of each features."""
    code = keys & np.uint64(3)
    binary = keys[(code == NEGATIVE) | (code == POSITIVE)]
    if not len(binary):
        return 0, 0
    starts = _starts(binary >> np.uint64(2))
    positives = np.add.reduceat((binary & np.uint64(3)).astype(np.int64), starts)
    rows = np.diff(starts, append=len(binary))
    mixed = (positives > 0) & (positives < rows)
    return int(rows[mixed].sum()), int(np.minimum(positives, rows - positives)[mixed].sum())


def _copies_by_chance(split: Split) -> float:
    """Copies to expect: about the number of pairs times the chance that a pair is equal."""
    return min(split.rows * (split.rows - 1) / 2 * _chance(split.sample), float(split.rows))


def _shared_by_chance(inner: Split, outer: Split) -> float:
    """Rows of `inner` to expect in `outer`."""
    return inner.rows * min(outer.rows * _chance(outer.sample), 1.0)


def _chance(sample: Sample) -> float:
    """That two rows are equal, if every column (and the label) depends on one of two others at most.

    These are the two whose values are most varied, as user and item: given that two rows agree in the
    one that tells more, columns count as independent.
    """
    numbers = {name.removeprefix("hash of ") for name in sample.columns if name.startswith("hash of ")}
    cells = {name: values.astype(np.uint64) for name, values in sample.columns.items() if name not in numbers}
    equal = {name: _agreement(values) for name, values in cells.items()}
    names = sorted(equal, key=lambda name: equal[name])
    chance = equal[names[0]]
    for at, name in enumerate(names[1:], start=1):
        if not chance:
            return 0.0
        given = [
            _agreement(together([cells[other], cells[name]], len(sample))) / equal[other]
            for other in names[: min(at, 2)]
        ]
        chance *= min(max(*given, equal[name]), 1.0)
    return chance


def _agreement(values: np.ndarray) -> float:
    """The share of pairs of rows that have the same value."""
    _, times = np.unique(values, return_counts=True)
    return float((times * (times - 1.0)).sum()) / max(len(values) * (len(values) - 1.0), 1.0)


def _about(count: float) -> str:
    return f"about {count:,.0f}" if count >= 0.5 else "none"
