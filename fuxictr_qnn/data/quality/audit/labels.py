"""Labels: are they there, of both classes, and as often positive in every split? Are all numbers finite?"""

from __future__ import annotations

import math

from fuxictr_qnn.data.quality.audit.finding import RATE_NOTE, RATE_WARNING, SURE, Finding, percent, some
from fuxictr_qnn.data.quality.audit.gathering import Gathered


def labels_there(found: Gathered) -> list[Finding]:
    """Rows without a label, and splits with one class."""
    findings = []
    for name, split in found.splits.items():
        numbers = {
            "split": name,
            "rows": split.rows,
            "no_label": split.no_label,
            "positives": split.positives,
        }
        if split.no_label:
            sentence = (
                f"{name}: {split.no_label:,} of {split.rows:,} rows have no label '{found.data.label}'; "
                "a build refuses them, and the other checks count them as negative"
            )
            findings.append(Finding("labels", "severe", sentence, numbers))
        if split.positives in (0, split.rows) and split.no_label < split.rows:
            kind = "positive" if split.positives else "negative"
            sentence = f"{name}: all labels are {kind}: AUC is not defined, and there is nothing to learn"
            findings.append(Finding("labels", "severe", sentence, numbers))
    if found.cut != 0.5:
        sentence = f"label '{found.data.label}' is not 0 or 1: above {found.cut:.6g} counts as positive here"
        findings.append(Finding("labels", "note", sentence, {"cut": found.cut}))
    if found.data.other_labels:
        names = ", ".join(found.data.other_labels)
        sentence = f"only the first label, '{found.data.label}', was looked at; {names} only for equal rows"
        findings.append(Finding("labels", "note", sentence))
    return findings


def infinite_numbers(found: Gathered) -> list[Finding]:
    """Numbers that are infinite, or too large to be one."""
    findings = []
    for name, split in found.splits.items():
        if split.infinite:
            named = some([f"{column} {count:,}" for column, count in split.infinite.items()])
            sentence = (
                f"{name}: cells that are infinite, or too large for a number: {named}; a build refuses them: "
                "correct them, or leave them empty"
            )
            findings.append(
                Finding("infinite numbers", "severe", sentence, {"split": name, "infinite": split.infinite})
            )
    return findings


def positive_rates(found: Gathered) -> list[Finding]:
    """How often the label is positive in each split, against training."""
    rates = {name: split.positives / split.rows for name, split in found.splits.items()}
    train, expected = found.splits["train"], rates["train"]
    severity, numbers = "ok", {f"{name}_rate": rate for name, rate in rates.items()}
    if train.positives and found.others:
        for name, split in found.others.items():
            spread = expected * (1 - expected) * (1 / train.rows + 1 / split.rows)
            sure = abs(rates[name] - expected) >= SURE * math.sqrt(spread)
            difference = abs(rates[name] / expected - 1)
            if sure and difference >= RATE_WARNING:
                severity = "warning"
            elif sure and difference >= RATE_NOTE and severity == "ok":
                severity = "note"
    text = ", ".join(f"{percent(rate)} of {name}" for name, rate in rates.items())
    differ = (
        "" if severity == "ok" else "; by more than chance: logloss suffers, and a time or sampling differs"
    )
    return [Finding("positive rate", severity, f"positive are {text}{differ}", numbers)]
