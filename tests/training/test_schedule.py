"""The learning-rate schedule, evaluation by evaluation."""

from __future__ import annotations

import pytest

from fuxictr_qnn.training.schedule import PlateauSchedule
from fuxictr_qnn.training.settings import FitSettings


def told(values, **settings):
    """What the schedule says to a series of monitored values: b best, c cut, s stop, . nothing."""
    schedule = PlateauSchedule(FitSettings(**settings))
    said = ""
    for value in values:
        verdict = schedule.update(value)
        said += (
            "b"
            if verdict.best
            else "C"
            if verdict.cut and verdict.stop
            else "c"
            if verdict.cut
            else "s"
            if verdict.stop
            else "."
        )
        if verdict.stop:
            break
    return said


def test_fuxictrs_schedule_cuts_at_every_miss_and_stops_at_the_second_in_a_row():
    assert told([0.5, 0.6, 0.59, 0.61, 0.60, 0.60]) == "bbcbcC"


def test_patience_counts_since_the_last_improvement_or_cut():
    # cuts after 2 misses; the end comes after early_stop_patience misses since the best
    assert told([0.5] * 9, reduce_lr_patience=2, early_stop_patience=5) == "b.c.cs"


def test_with_max_lr_cuts_the_end_comes_after_the_last_cut_and_as_much_patience():
    assert told([0.5] * 12, reduce_lr_patience=3, max_lr_cuts=2) == "b..c..c..s"
    # an improvement after a cut starts the count anew, and early_stop_patience plays no part
    values = [0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7, 0.7, 0.7]
    assert told(values, reduce_lr_patience=3, max_lr_cuts=2) == "b..cb..cb..s"


def test_no_cut_allowed_is_plain_early_stopping():
    assert told([0.5] * 6, reduce_lr_patience=4, max_lr_cuts=0) == "b...s"
    assert told([0.5] * 6, reduce_lr_on_plateau=False, early_stop_patience=3) == "b..s"


def test_a_gain_below_the_smallest_that_counts_is_none():
    assert told([0.5, 0.5 + 5e-7, 0.5 + 2e-6]) == "bcb"


def test_monitor_mode_min():
    assert told([0.5, 0.4, 0.45, 0.41], monitor_mode="min") == "bbcC"


def test_its_state_can_be_carried_over():
    settings = FitSettings(reduce_lr_patience=3, max_lr_cuts=2)
    first, second = PlateauSchedule(settings), PlateauSchedule(settings)
    for value in [0.5, 0.4, 0.4, 0.4, 0.45]:
        first.update(value)
    second.load(first.state())
    assert second == first and second.update(0.4) == first.update(0.4)


def test_two_kinds_of_averages_exclude_each_other():
    with pytest.raises(ValueError, match="set one of them"):
        FitSettings(ema_decay=0.9, average_last=3)
