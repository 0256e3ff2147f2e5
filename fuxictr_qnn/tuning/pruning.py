"""When a trial is hopeless: rules over the monitored value after each evaluation.

A rule compares trials at the same evaluation, each by its best value so far. Values are such that higher is
better; who minimises passes them with the other sign.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

Curve = Sequence[float]  # the monitored value at each evaluation
Rule = Callable[[Curve, Sequence[Curve]], bool]  # (this trial, the others) -> whether it may go on

MEDIAN_AFTER = 3  # evaluations
MEDIAN_OTHERS = 4  # trials that have come as far
REDUCTION = 3  # of trials at a rung, one in so many goes on


def by_median(curve: Curve, others: Sequence[Curve]) -> bool:
    """Go on unless the trial is below the median of the others that have come as far.

    Golovin et al., Google Vizier, KDD 2017. Not before the third evaluation, nor with fewer than four others.
    """
    count = len(curve)
    there = [max(other[:count]) for other in others if len(other) >= count]
    if count < MEDIAN_AFTER or len(there) < MEDIAN_OTHERS:
        return True
    return max(curve) >= statistics.median(there)


def by_halving(curve: Curve, others: Sequence[Curve]) -> bool:
    """Go on unless a rung (1, 3, 9, ... evaluations) is reached among the lower two thirds so far.

    Asynchronous successive halving: Li et al., A system for massively parallel hyperparameter tuning, MLSys
    2020, with reduction factor 3. While fewer than three have reached a rung, all go on.
    """
    count = len(curve)
    if not _is_rung(count):
        return True
    there = sorted((max(other[:count]) for other in others if len(other) >= count), reverse=True)
    better = sum(value > max(curve) for value in there)
    return len(there) + 1 < REDUCTION or better < (len(there) + 1) // REDUCTION


def _is_rung(count: int) -> bool:
    rung = 1
    while rung < count:
        rung *= REDUCTION
    return rung == count


RULES: dict[str, Rule] = {"median": by_median, "asha": by_halving}
