"""What needs no Ray that runs; a sweep with Ray is tested in tests/cli/test_tune.py."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

pytest.importorskip("ray")

import ray

from fuxictr_qnn.errors import RunError
from fuxictr_qnn.jobs.job import Began, Ended, Evaluated, Outcome
from fuxictr_qnn.jobs.ray import RayPool, _Box, _Feed


def test_an_answer_is_to_what_was_said_last():
    """A worker that was lost before it took its answer must not leave it to the one that goes on."""
    box = _Box()
    box.tell(1, ("evaluated", {"evaluation": 1}))
    box.set_answer(1, False)
    box.tell(1, ("evaluated", {"evaluation": 1}))
    assert box.take_answer(1) is None
    box.set_answer(1, True)
    assert box.take_answer(1) is True and box.take_answer(1) is None
    assert len(box.take()) == 2 and box.take() == []


@dataclass(eq=False)
class Job:
    """As much of one as the box looks at."""

    restart: bool = False


def test_a_worker_that_is_lost_goes_on_and_does_not_restart_again():
    box, job = _Box(), Job(restart=True)
    box.put(1, job)
    assert box.job(1) is job, "lost before its first step: as it was asked for"
    box.tell(1, ("began", 0.5))
    assert box.job(1).restart is False


def test_what_has_ended_is_not_done_all_over():
    """Its worker may be lost between its last word and its return: Ray Tune starts it again."""
    box = _Box()
    box.put(1, Job())
    box.tell(1, ("ended", Outcome("done")))
    assert box.job(1) is None


class Called:
    """A box in this process, called as an actor is."""

    def __init__(self, box):
        self.box = box

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.box, name))


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """One with two jobs under way, and no Ray."""
    monkeypatch.setattr(ray, "get", lambda value: value)
    pool = RayPool(tmp_path / "ray", 2)
    pool._box = Called(_Box())
    for key in (1, 2):
        pool._jobs[key] = job = Job()
        pool._box.box.put(key, job)
    return pool


def test_what_trials_said(pool):
    first, second = pool.running
    done = Outcome("done", {"AUC": 0.7})
    for key, report in ((1, ("began", 0.2)), (2, ("evaluated", {"AUC": 0.6})), (1, ("ended", done))):
        pool._box.box.tell(key, report)
    assert pool.wait() == [Began(first, 0.2), Evaluated(second, {"AUC": 0.6}), Ended(first, done)]
    assert pool.running == [second] and pool.free == 1


def test_what_ray_tune_gave_up(pool):
    first, second = pool.running
    pool._lost.trials.append((1, ray.exceptions.RaySystemError("The actor is dead. A page of advice.")))
    pool._lost.trials.append(
        (2, ray.exceptions.RayTaskError("f", "Traceback\nImportError: no such thing", None))
    )
    killed, failed = pool.wait()
    assert (killed.job, failed.job) == (first, second) and pool.free == 2
    assert killed.outcome.killed and not failed.outcome.killed
    why = killed.outcome.reason
    assert "gave it up after 3 restarts: " in why and why.endswith("The actor is dead")
    assert "its trial failed: " in failed.outcome.reason
    pool._box.box.said.append((1, ("evaluated", {})))  # told just before
    assert pool._said() == []


def test_ray_tune_that_ends_by_itself_ends_the_sweep(pool):
    pool._thread, pool._why = SimpleNamespace(is_alive=lambda: False), "OSError: no space left"
    with pytest.raises(RunError, match="--backend ray: OSError: no space left; the same command goes on"):
        pool.wait()


def test_the_feed_suggests_what_waits_until_it_is_closed():
    feed = _Feed()
    assert feed.suggest("a") is None
    feed.waiting.append({"key": 1, "name": "x"})
    pickle.dumps(feed)
    assert feed.suggest("a") == {"key": 1, "name": "x"}
    feed.closed = True
    assert feed.suggest("b") == feed.FINISHED
