"""The points that all models try: balanced, shared, and never changed by later ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fuxictr_qnn.comparing.drawing import Points, draw
from fuxictr_qnn.comparing.space import read_space
from tests.clicks import write_tuner

AXES = {"learning_rate": [1, 2, 3, 4], "batch_norm": [True, False], "schedule": ["a", "b"], "own": [1, 2, 3]}


@given(st.integers(1, 6), st.integers(0, 40), st.text(max_size=5))
def test_no_value_comes_more_than_once_oftener_than_another(size, count, axis):
    counts = Counter(point[axis] for point in draw({axis: list(range(size))}, count))
    found = [counts[value] for value in range(size)]
    assert max(found) - min(found) <= 1


@given(st.integers(0, 20), st.integers(0, 20))
def test_more_points_extend_the_first_ones(few, more):
    assert draw(AXES, few + more)[:few] == draw(AXES, few)


def test_an_axis_does_not_hang_on_the_others():
    one = [point["learning_rate"] for point in draw(AXES, 9)]
    assert one == [point["learning_rate"] for point in draw({"learning_rate": [1, 2, 3, 4], "x": [0]}, 9)]
    assert one != [point["dropout"] for point in draw({"dropout": [1, 2, 3, 4]}, 9)]


def test_the_turns_of_an_axis_are_in_different_orders():
    values = [point["a"] for point in draw({"a": [1, 2, 3, 4]}, 40)]
    assert len({tuple(values[start : start + 4]) for start in range(0, 40, 4)}) > 4


def test_the_shipped_space_at_four_and_eight_trials():
    """Every value as often as any other, and no two switches that always go together."""
    shared = read_space().shared
    for count in (4, 8):
        points = draw(shared, count)
        for axis, values in shared.items():
            assert set(Counter(point[axis] for point in points).values()) == {count // len(values)}, axis
        pairs = Counter((point["batch_norm"], point["schedule"]) for point in points)
        assert len(pairs) == 4 and set(pairs.values()) == {count // 4}


def test_the_values_of_a_dataset_are_as_many_as_the_shared_ones():
    """Else they would be drawn in other places, and not be balanced at 4 and 8 trials."""
    space = read_space()
    for axes in space.datasets.values():
        assert {axis: len(values) for axis, values in axes.items()} == {
            axis: len(space.shared[axis]) for axis in axes
        }


def test_points_are_all_that_a_sweep_searches(tmp_path):
    from fuxictr_qnn.tuning.search import grid
    from fuxictr_qnn.tuning.tuner_file import read_tuner

    tuner = read_tuner(write_tuner(tmp_path / "t.yaml", {"num_row": [1, 2, 3], "learning_rate": [0.1, 0.2]}))
    trials = grid(Points(tuner, 4))
    assert [trial.values for trial in trials] == draw(tuner.axes, 4)
    assert [trial.name for trial in grid(Points(tuner, 2))] == [trial.name for trial in trials[:2]]
