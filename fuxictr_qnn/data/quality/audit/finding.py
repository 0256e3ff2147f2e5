"""What an audit finds, and how bad it has to be to be called so."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

SEVERITIES = ("severe", "warning", "note", "ok")  # worst first


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        check: what was looked for, in a word or two.
        severity: "severe" spoils results, "warning" distorts them or needs a decision, "note" is worth
            knowing, "ok" was looked for and is not there.
        sentence: what was found, and where it helps, what to do.
        numbers: what the sentence stands on.
    """

    check: str
    severity: str
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# ---- thresholds; every one with its reason ----

# Copies of rows. Tenrec's published table has 0.73 % of them; below half a percent they move no metric
# that is reported with four digits.
COPIES_NOTE, COPIES_WARNING = 0.0005, 0.005
COPIES_LEAST = 10  # fewer equal rows are a handful, whatever their share of a small split
# Of few and frequent values, equal rows are no accident: not worse than a note up to this many times
# what chance would give (duplicates.py).
COPIES_OVER_CHANCE = 3.0
# Rows of one split that stand in another one, beyond the share of rows that repeat within it anyway. A
# random cut of any table makes that difference 0; a twentieth cannot be chance.
SHARED_SEVERE = 0.05
# Rows with the features of another row and the other label.
CONFLICTS_NOTE = 0.01

# Rows whose value of a feature was not in training: a per cent is usual; from a fifth on, the feature says
# nothing for many rows; where it is nearly all of them, values are probably written in another way.
UNSEEN_NOTE, UNSEEN_WARNING, UNSEEN_SEVERE = 0.01, 0.2, 0.99
# Missing cells: a difference of so many of them between splits comes from how the split was made.
MISSING_WARNING = 0.2

# AUC of one feature alone. No honest single feature of the public benchmarks reaches 0.95, where models
# with all features end between 0.75 and 0.99; a copy of the label with 5 % of it flipped has 0.95.
LEAK_SEVERE = 0.95
# Or it is well above all others: (1 - AUC) is less than this part of the next best one's.
LEAK_WARNING, LEAK_GAP = 0.75, 0.5
# How much better a feature does on training rows (of the half that it was not fitted on) than on later
# ones: features counted from training labels show so.
FADING_WARNING = 0.1

# AUC of telling two splits apart. Random splits have 0.5; a few per cent of rows that differ in all make
# 0.55; from 0.75 on, results on test say little of other days.
SHIFT_NOTE, SHIFT_WARNING = 0.55, 0.75
# Positive rates that differ by this part of training's.
RATE_NOTE, RATE_WARNING = 0.02, 0.15
# All of these must also be this many standard errors away from no difference; many features are tried.
SURE = 5.0


def percent(share: float) -> str:
    """A share for a sentence, with two digits that count."""
    if share == 0:
        return "0 %"
    if 0 < share < 0.0001:
        return "less than 0.01 %"
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"


def some(names: list[str], at_most: int = 6) -> str:
    """Names for a sentence; how many more where they are many."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
