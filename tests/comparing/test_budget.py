"""What runs cost, and how many fit."""

from __future__ import annotations

import pytest

from fuxictr_qnn.comparing.budget import Rate, duration, numbers_within, read_budget
from fuxictr_qnn.errors import RequestError


def rate(label="m", seconds=10.0, recipe=False) -> Rate:
    """Of runs that take so many seconds: ten epochs of training and evaluation."""
    return Rate(label, recipe, 0.08 * seconds, 0.02 * seconds, cap=50, epochs=10, known=False)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1.5h", 5400), ("1h30m", 5400), ("45 min", None)]
)
def test_budgets_as_they_are_written(text, seconds):
    if seconds is None:
        with pytest.raises(RequestError):
            read_budget(text)
    else:
        assert read_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "two hours", "0m", "1d", "1m2h"])
def test_what_is_no_budget(text):
    with pytest.raises(RequestError, match=f"--budget {text}"):
        read_budget(text)


def test_a_rate_is_of_expected_epochs_and_of_the_cap():
    assert rate().expected == pytest.approx(10) and rate().at_most == pytest.approx(50)


def test_as_many_as_fit_about_four_trials_to_three_seeds():
    rates = [rate("a"), rate("b")]  # 20 seconds for a run of each
    assert numbers_within(1e9, rates, 1) == (13, 10)
    assert numbers_within(20 * 12, rates, 1) == (7, 5)
    assert numbers_within(20 * 12 - 1, rates, 1) == (5, 4)
    assert numbers_within(20 * 7, rates, 1) == (4, 3)
    assert numbers_within(20 * 6, rates, 1) == (3, 3)
    assert numbers_within(20 * 4, rates, 1) == (1, 3)
    assert numbers_within(20 * 4 / 2, rates, 2) == (1, 3)


@pytest.mark.parametrize("given", [{"trials": 6}, {"seeds": 4}, {"trials": 6, "seeds": 5}])
def test_what_is_given_stays(given):
    trials, seeds = numbers_within(20 * 12, [rate("a"), rate("b")], 1, **given)
    assert {"trials": trials, "seeds": seeds} | given == {"trials": trials, "seeds": seeds}
    assert trials + seeds <= 12


def test_without_trials_there_are_seeds_only():
    assert numbers_within(20 * 7, [rate("a"), rate("b")], 1, tuned=False) == (0, 7)


def test_recipes_and_more_seeds_cost_too():
    rates = [rate("a"), rate("b"), rate("r", 100, recipe=True)]
    assert numbers_within(20 * 7 + 100, rates, 1) == (4, 3)
    assert numbers_within(20 * 7 + 99, rates, 1) == (3, 3)
    assert numbers_within(20 * 7 + 20 * 2, rates[:2], 1, more_seeds=5) == (4, 3)
    assert numbers_within(20 * 7 + 20 * 2 - 1, rates[:2], 1, more_seeds=5) == (3, 3)


def test_too_little_names_the_least():
    with pytest.raises(RequestError, match="1 trials and 3 seeds of each model take about 80 s"):
        numbers_within(79, [rate("a"), rate("b")], 1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (50, "50 s"), (99.9, "100 s"), (100, "2 min"), (5900, "99 min")]
)
def test_durations_are_never_less_than_they_are(seconds, text):
    assert duration(seconds) == text


def test_long_durations_are_in_hours():
    assert duration(3600 * 3.4) == "3.4 h" and duration(3600 * 3.41) == "3.5 h"
