"""The names of trials, and the searches over a space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.tuning.search import Planned, at_random, grid, shuffled
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.tuner_file import read_tuner
from tests.clicks import write_tuner


def space_of(folder: Path, space: dict, **expid) -> Space:
    return Space(read_tuner(write_tuner(folder / "tuner.yaml", space, **expid)))


def names(trials) -> list[str]:
    return [trial.name for trial in trials]


class TestNames:
    def test_a_name_is_that_of_the_run_folder(self, tmp_path):
        from fuxictr_qnn.training.run_folder import RunFolder

        trial = grid(space_of(tmp_path, {"num_row": [1, 2], "seed": [3, 4]}))[3]
        assert RunFolder(tmp_path, trial.experiment, trial.seed).path == tmp_path / trial.name
        assert trial.name.endswith("/seed4") and trial.values == {"num_row": 2, "seed": 4}

    def test_the_order_of_keys_and_values_does_not_matter(self, tmp_path):
        one = space_of(tmp_path, {"num_row": [1, 2], "net_dropout": [0, 0.2]})
        other = space_of(tmp_path, {"net_dropout": [0.2, 0], "num_row": [2, 1]}, epochs=3)
        assert sorted(names(grid(one))) == sorted(names(grid(other)))

    def test_more_values_and_more_keys_keep_the_names_that_there_are(self, tmp_path):
        before = names(grid(space_of(tmp_path, {"num_row": [1, 2]})))
        more = names(grid(space_of(tmp_path, {"num_row": [4, 2, 1], "net_dropout": [0.3, 0.1]})))
        assert set(before) < set(more) and len(more) == 6

    def test_a_new_key_at_the_constructors_value_is_the_trial_that_there_was(self, tmp_path):
        before = names(grid(space_of(tmp_path, {"num_row": [1, 2]})))
        more = grid(space_of(tmp_path, {"num_row": [1, 2], "head_layout": ["reference", "block"]}))
        assert set(before) < set(names(more)) and len(more) == 4
        assert more[0].values == {"num_row": 1, "head_layout": "reference"}

    def test_a_value_is_the_default_only_if_it_is_of_its_kind(self, tmp_path):
        one, other = grid(space_of(tmp_path, {"consistency_weight": [1.0, 2.0]}))
        assert "consistency_weight" not in one.experiment.model_params
        assert other.experiment.model_params["consistency_weight"] == 2.0

    def test_one_and_the_same_experiment_is_one_trial(self, tmp_path):
        assert len(grid(space_of(tmp_path, {"num_row": [1, 2], "model_root": ["./a", "./b"]}))) == 2
        assert len(grid(space_of(tmp_path, {"net_regularizer": [0, 0.0]}))) == 1

    def test_other_files_make_other_trials_of_one_name(self, tmp_path):
        one, other = grid(space_of(tmp_path, {"train_data": ["clicks/train.csv", "clicks/valid.csv"]}))
        assert one.name == other.name and one.identity != other.identity

    def test_a_dataset_key_is_part_of_the_name(self, tmp_path):
        one, other = grid(space_of(tmp_path, {"min_categr_count": [1, 5]}))
        assert one.name != other.name and other.dataset.min_categr_count == 5

    def test_wrong_combinations_of_right_values_are_all_named(self, tmp_path):
        space = space_of(tmp_path, {"ema_decay": [None, 0.9], "average_last": [None, 3]})
        with pytest.raises(RequestError, match="ema_decay and average_last are two ways to average"):
            grid(space)

    def test_nothing_to_vary_is_one_trial(self, tmp_path):
        (trial,) = grid(space_of(tmp_path, {"num_row": 3}))
        assert trial.label == "" and trial.experiment.model_params["num_row"] == 3


class TestGridAndRandom:
    def test_a_grid_is_every_combination_the_last_axis_fastest(self, tmp_path):
        space = space_of(tmp_path, {"num_row": [1, 2], "net_dropout": [0, 0.1, 0.2]})
        found = [tuple(trial.values.values()) for trial in grid(space)]
        assert found == [(1, 0), (1, 0.1), (1, 0.2), (2, 0), (2, 0.1), (2, 0.2)]
        assert names(grid(space, 2)) == names(grid(space))[:2]

    def test_a_grid_beyond_all_measure_is_refused(self, tmp_path):
        values = [round(0.001 * step, 3) for step in range(1, 120)]
        space = space_of(tmp_path, {"learning_rate": values, "net_dropout": values})
        with pytest.raises(RequestError, match="14,161 combinations are more than a grid of 10,000"):
            grid(space)
        assert len(at_random(space, 7)) == 7

    def test_random_trials_are_distinct_and_a_greater_number_begins_alike(self, tmp_path):
        space = space_of(tmp_path, {"num_row": [1, 2, 3], "net_dropout": [0, 0.1, 0.2]})
        assert names(at_random(space, 9))[:4] == names(at_random(space, 4))
        assert sorted(names(at_random(space, 50))) == sorted(names(grid(space)))

    def test_random_skips_what_is_the_same_experiment(self, tmp_path):
        space = space_of(tmp_path, {"num_row": [1, 2, 3], "model_root": ["./a", "./b", "./c"]})
        assert len(at_random(space, 3)) == 3

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 60), st.integers(1, 60))
    def test_a_random_order_is_a_permutation(self, size, count):
        found = list(shuffled(size))
        assert sorted(found) == list(range(size))

    def test_planned_trials_come_once_each(self, tmp_path):
        search = Planned(grid(space_of(tmp_path, {"num_row": [1, 2]})))
        assert [search.ask(), search.ask(), search.ask()] == [*search.planned, None]


@dataclass(frozen=True, eq=False)
class Point:
    """As much of a trial as a search looks at."""

    values: dict

    @property
    def identity(self) -> str:
        return repr(sorted(self.values.items()))


class Line:
    """As much of a space as TPE looks at: numbers from 0 to 29, and a choice of three."""

    axes = {"x": list(range(30)), "kind": ["a", "b", "c"]}
    size = 90
    tuner = SimpleNamespace(place="")

    def trial(self, values: dict) -> Point:
        return Point(values)

    def values(self, index: int) -> dict:
        return {"x": index // 3, "kind": "abc"[index % 3]}

    def trials(self, indices) -> list[Point]:
        return [self.trial(self.values(index)) for index in indices]


def value(point: Point) -> float:
    return -abs(point.values["x"] - 21) - {"a": 4, "b": 0, "c": 9}[point.values["kind"]]


@pytest.fixture
def tpe():
    pytest.importorskip("optuna")
    from fuxictr_qnn.tuning.tpe import Tpe

    return Tpe


class TestTpe:
    def search(self, tpe, count, known=(), maximise=True, sign=1):
        search = tpe(Line(), known, count, maximise)
        found = []
        while (point := search.ask()) is not None:
            found.append(point)
            search.tell(point, sign * value(point))
        return found

    @pytest.mark.parametrize("sign", [1, -1])
    def test_it_comes_nearer_than_chance(self, tpe, sign):
        found = self.search(tpe, 35, maximise=sign > 0, sign=sign)
        assert len({point.identity for point in found}) == 35
        late = [value(point) for point in found[-15:]]
        drawn = [value(point) for point in at_random(Line(), 90)]
        assert sum(late) / 15 > sum(drawn) / 90 + 4 and max(map(value, found)) >= -1

    def test_every_trial_once_until_there_is_none(self, tpe):
        found = self.search(tpe, 200)
        assert len(found) == 90 and len({point.identity for point in found}) == 90

    def test_known_trials_count_and_come_first(self, tpe):
        known = at_random(Line(), 6)
        found = self.search(tpe, 9, known)
        assert found[:6] == known and len(found) == 9

    def test_failures_and_several_at_a_time(self, tpe):
        search = tpe(Line(), [], 12, True)
        at_work, seen = [], []
        while (point := search.ask()) is not None or at_work:
            if point is not None:
                at_work.append(point)
                seen.append(point.identity)
            if len(at_work) == 3 or point is None:
                ended = at_work.pop(0)
                search.tell(ended, None if ended.values["x"] % 2 else value(ended))
        assert len(seen) == len(set(seen)) == 12
