"""What comparisons ask of sweeps: axes that stand for several keys, and workers that sweeps share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.search import grid
from fuxictr_qnn.tuning.session import do_sweeps, open_sweep
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.tuner_file import read_tuner
from tests.clicks import write_clicks, write_tuner
from tests.tuning.fake_pool import FakePool


@pytest.fixture
def tuner(tmp_path):
    write_clicks(tmp_path)
    return read_tuner(write_tuner(tmp_path / "tuner.yaml", {"num_row": [1, 2]}))


class TestMeanings:
    def with_schedule(self, tuner, **keys):
        steady = {"reduce_lr_patience": 3, "average_last": 3} | keys
        axes = tuner.axes | {"schedule": ["plain", "steady"]}
        return replace(tuner, axes=axes, meanings={"schedule": [{"reduce_lr_patience": 1}, steady]})

    def test_an_axis_may_stand_for_several_keys(self, tuner):
        trials = grid(Space(self.with_schedule(tuner)))
        found = [(t.values["num_row"], t.values["schedule"], t.experiment.fit.average_last) for t in trials]
        assert found == [(1, "plain", None), (1, "steady", 3), (2, "plain", None), (2, "steady", 3)]
        assert trials[1].label == "num_row=1  schedule=steady"

    def test_their_values_are_checked_as_others_are(self, tuner):
        with pytest.raises(RequestError, match="average_lst.*'average_last'"):
            Space(self.with_schedule(tuner, average_lst=3))
        with pytest.raises(RequestError, match="ema_decay = 2"):
            Space(self.with_schedule(tuner, ema_decay=2, average_last=None))


def test_sweeps_share_workers(tuner, tmp_path, monkeypatch):
    """A worker that finds nothing more to do in the first sweep begins with the second."""
    monkeypatch.setattr("fuxictr_qnn.tuning.session.draw_axes", lambda sweep: [])
    data, pool, seen = SweepData(tmp_path), FakePool(workers=3), []
    one, two = (replace(tuner, axes={"num_row": values}) for values in ([1, 2], [3, 4]))
    with (
        open_sweep(Space(one), tmp_path / "one", data, Options()) as first,
        open_sweep(Space(two), tmp_path / "two", data, Options()) as second,
    ):
        do_sweeps([first, second], lambda: pool, lambda sweep, row, event: seen.append(len(pool.running)))
        assert len(first.done) == len(second.done) == 2
    assert max(seen) == 3
    assert [job.experiment.model_params.get("num_row", 2) for job in pool.started] == [1, 2, 3, 4]
    assert (tmp_path / "one" / "best.yaml").exists() and (tmp_path / "two" / "results.csv").exists()


def test_killed_trials_go_on_where_that_is_asked_for(tuner, tmp_path, monkeypatch):
    monkeypatch.setattr("fuxictr_qnn.tuning.session.draw_axes", lambda sweep: [])

    def session(reason, **options):
        pool = FakePool(fails=lambda experiment: reason(experiment.model_params.get("num_row", 2)))
        with open_sweep(Space(tuner), tmp_path / "it", SweepData(tmp_path), Options(**options)) as sweep:
            do_sweeps([sweep], lambda: pool)
        return [job.experiment.model_params.get("num_row", 2) for job in pool.started]

    assert session({1: "killed by SIGKILL", 2: "the loss is not finite"}.get) == [1, 2]
    assert session(lambda rows: None) == []
    assert session(lambda rows: None, retry_killed=True) == [1]
    assert session(lambda rows: None, retry_killed=True) == []
