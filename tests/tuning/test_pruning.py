"""Which trials are hopeless."""

from __future__ import annotations

import pytest

from fuxictr_qnn.tuning.pruning import by_halving, by_median

FOUR = [
    [0.5, 0.6, 0.7],
    [0.5, 0.6, 0.72],
    [0.6, 0.7, 0.74],
    [0.5, 0.6, 0.76, 0.8],
]  # median 0.73 at the third


@pytest.mark.parametrize(
    ("curve", "goes_on"),
    [
        ([0.1], True),
        ([0.1, 0.1], True),
        ([0.1, 0.1, 0.72], False),
        ([0.1, 0.1, 0.73], True),
        ([0.74, 0, 0], True),
    ],
)
def test_below_the_median_of_those_that_came_as_far(curve, goes_on):
    assert by_median(curve, FOUR) is goes_on


def test_the_median_needs_four_others_that_came_as_far():
    assert by_median([0.1, 0.1, 0.1], FOUR[:3])
    assert by_median([0.1, 0.1, 0.1, 0.1], FOUR)  # only one has a fourth evaluation


@pytest.mark.parametrize(
    ("curve", "others", "goes_on"),
    [
        ([0.1], [], True),
        ([0.1], [[0.9]], True),  # two of them: nobody can be among a third yet
        ([0.1], [[0.9], [0.8]], False),
        ([0.95], [[0.9], [0.8]], True),
        ([0.85], [[0.9], [0.8]], False),
        ([0.85], [[0.9], [0.8], [0.7], [0.6], [0.5]], True),  # two of six go on
        ([0.1, 0.1], [[0.9, 0.9], [0.8, 0.8]], True),  # no rung
        ([0.1, 0.1, 0.2], [[0.9, 0.9, 0.9], [0.8, 0.8, 0.8]], False),
        ([0.1, 0.1, 0.2], [[0.9, 0.9], [0.8, 0.8]], True),  # nobody else has come so far
        ([0.1] * 9, [[0.2] * 9] * 5, False),
    ],
)
def test_successive_halving(curve, others, goes_on):
    assert by_halving(curve, others) is goes_on
