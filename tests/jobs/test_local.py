"""Jobs in processes that a server forks: what they leave, and what ends them."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Pipe
from pathlib import Path

import pytest

from fuxictr_qnn.data import Places
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.jobs import Began, Ended, Evaluated, Job, LocalPool, do_jobs
from fuxictr_qnn.jobs import server as server_module
from fuxictr_qnn.jobs.local import Server, shared_server
from fuxictr_qnn.training import run_seed
from fuxictr_qnn.training.run_folder import RunFolder
from tests.clicks import experiment, write_clicks
from tests.jobs.dying import said_by, unpicklable

DYING = "tests.jobs.dying:Dying"
POOLS = {"polars", "rayon", "OpenBLAS", "arrow", "pool"}  # names of threads that compute


@pytest.fixture(scope="session")
def clicks(tmp_path_factory) -> Path:
    return write_clicks(tmp_path_factory.mktemp("clicks"))


def job(
    data: Path,
    out: Path,
    *,
    model="QNNalpha",
    params=None,
    seed=1,
    test=True,
    prunable=False,
    log=None,
    **fit,
):
    return Job(
        experiment(model, params, **fit), seed, Places(data), out, test=test, prunable=prunable, log=log
    )


def do(jobs, workers=2, on_event=lambda event: None):
    """Do jobs on CPUs, a thread each; the events that came."""
    left, events = iter(jobs), []

    def note(event):
        events.append(event)
        return on_event(event)

    with LocalPool(workers, threads=1, gpus=[-1]) as pool:
        do_jobs(pool, lambda: next(left, None), note)
    return events


def outcomes(events):
    return {event.job: event.outcome for event in events if isinstance(event, Ended)}


def test_a_process_that_cannot_tell_its_outcome_says_why_in_its_log(clicks, tmp_path):
    one = replace(job(clicks, tmp_path / "out", log=tmp_path / "log.txt"), work=unpicklable)
    assert outcomes(do([one]))[one].reason == "its process ended with exit code 1"
    assert "pickle" in (tmp_path / "log.txt").read_text().splitlines()[-1]


def test_a_job_leaves_what_the_same_run_leaves_in_this_process(clicks, tmp_path):
    one = job(clicks, tmp_path / "jobs")
    events = do([one])
    here = run_seed(one.experiment, 1, places=Places(clicks), out=tmp_path / "here", gpu=-1)
    metrics = outcomes(events)[one].metrics
    for split in ("valid", "test"):
        assert metrics[split] == pytest.approx(here.metrics[split], abs=1e-6)  # other threads round otherwise
    assert metrics["device"] == "cpu (1 threads)"
    records = [event.record for event in events if isinstance(event, Evaluated)]
    assert records == RunFolder(tmp_path / "jobs", one.experiment, 1).history and len(records) == 3


def test_the_first_step_comes_within_two_seconds_of_the_fork(clicks, tmp_path):
    shared_server()
    do([job(clicks, tmp_path / "first", epochs=1)])  # waits for the server's imports
    began = [event.seconds for event in do([job(clicks, tmp_path, epochs=1)]) if isinstance(event, Began)]
    assert len(began) == 1 and began[0] < 2


@pytest.mark.parametrize("workers", [1, 2])
def test_so_many_jobs_run_at_once_as_there_are_workers(clicks, tmp_path, workers):
    jobs = [job(clicks, tmp_path, seed=seed, epochs=20, early_stop_patience=20) for seed in (1, 2)]
    kinds = [type(event) for event in do(jobs, workers) if isinstance(event, Began | Ended)]
    assert kinds == ([Began, Began, Ended, Ended] if workers == 2 else [Began, Ended, Began, Ended])


def test_a_fork_can_build_data_and_score_it(tmp_path):
    """polars, arrow and OpenMP work in it: the server has started no thread of theirs before."""
    data = write_clicks(tmp_path / "data")
    jobs = [job(data, tmp_path / "runs", seed=seed, epochs=1) for seed in (1, 2, 3)]
    assert all(outcome.state == "done" for outcome in outcomes(do(jobs)).values())
    assert len(list(data.glob("clicks/built-*"))) == 1
    for one in jobs:
        assert (RunFolder(tmp_path / "runs", one.experiment, one.seed).path / "test_scores.parquet").exists()
    if sys.platform == "linux":
        tasks = Path(f"/proc/{shared_server().pid}/task")
        names = {(task / "comm").read_text().strip() for task in tasks.iterdir()}
        assert not [name for name in names if name.startswith(tuple(POOLS)) and name != "polars-ooc-clea"]


@pytest.mark.parametrize(
    ("how", "reason", "killed"),
    [
        ("killed", "killed by SIGKILL", True),
        ("ended", "killed by SIGTERM", True),
        ("full", "File too large", True),
        ("exit", "ended with exit code 3", False),
        ("bug", "ZeroDivisionError: a bug in a model", False),
    ],
)
def test_a_job_that_dies_is_a_failure_and_the_others_go_on(clicks, tmp_path, how, reason, killed):
    dying = job(
        clicks, tmp_path, model=DYING, params={"how": how, "step": 20}, log=tmp_path / "log" / "dying.txt"
    )
    others = [job(clicks, tmp_path, seed=seed, epochs=1) for seed in (1, 2)]
    found = outcomes(do([others[0], dying, others[1]]))
    assert reason in found[dying].reason and "--resume" not in found[dying].reason
    assert (found[dying].state, found[dying].killed) == ("failed", killed)
    assert [found[other].state for other in others] == ["done", "done"]
    assert RunFolder(tmp_path, dying.experiment, 1).is_started
    assert ("Traceback" in dying.log.read_text()) == (how == "bug")


def test_a_killed_job_goes_on_where_it_was(clicks, tmp_path):
    params = {"marker": str(tmp_path / "died"), "step": 20}
    once = job(clicks, tmp_path, model=DYING, params=params)
    assert outcomes(do([once]))[once].killed
    events = do([once])
    assert outcomes(events)[once].state == "done"
    assert [event.record["evaluation"] for event in events if isinstance(event, Evaluated)] == [2, 3]


def test_data_that_changed_meanwhile_is_refused(clicks, tmp_path):
    changed = replace(job(clicks, tmp_path / "runs"), data_fingerprint="0" * 16)
    outcome = outcomes(do([changed]))[changed]
    assert outcome.state == "failed" and "fingerprint was 0000000000000000" in outcome.reason
    assert not (tmp_path / "runs").exists()


def test_a_log_that_cannot_be_opened_is_a_failure_with_its_reason(clicks, tmp_path):
    (tmp_path / "file").touch()
    mute = job(clicks, tmp_path / "runs", log=tmp_path / "file" / "log.txt")
    outcome = outcomes(do([mute]))[mute]
    assert outcome.killed and "could not begin: " in outcome.reason and "file" in outcome.reason


def test_a_run_in_other_hands_is_waited_for(clicks, tmp_path):
    """As after a kill, when the workers of the command before have not ended yet."""
    waiting = job(clicks, tmp_path, epochs=1)
    with RunFolder(tmp_path, waiting.experiment, 1).locked():
        pool = LocalPool(1, 1, [-1])
        pool.start(waiting)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert not pool._receive(until - time.monotonic()), "it did not wait"
    with pool:
        events = []
        while not events:
            events = [event for event in pool.wait() if isinstance(event, Ended)]
    assert events[0].outcome.state == "done"


def test_a_server_that_cannot_fork_says_so_and_goes_on(clicks, tmp_path, monkeypatch):
    def no_more_processes():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    ours, theirs = Pipe()
    server = server_module._Server(theirs)
    monkeypatch.setattr(os, "fork", no_more_processes)
    server._obey("start", 7, job(clicks, tmp_path), str(tmp_path), 1, -1)
    (key, outcome), last = ours.recv(), ours.recv()
    assert key == 7 and outcome.killed and "could not be started: [Errno 11]" in outcome.reason
    assert last == (7, 1) and not server.children


def test_a_refusal_is_a_failure_with_its_sentence(clicks, tmp_path):
    bad = job(clicks, tmp_path / "runs", params={"num_heads": 3})
    assert "num_heads=3 does not divide" in outcomes(do([bad]))[bad].reason
    assert not (tmp_path / "runs").exists()


def test_the_test_split_stays_unread_until_it_is_asked_for(clicks, tmp_path):
    blind = job(clicks, tmp_path, epochs=1, test=False)
    assert "test" not in outcomes(do([blind]))[blind].metrics
    assert not list(tmp_path.glob("*/seed1/test_scores.parquet"))
    seeing = job(clicks, tmp_path, epochs=1)
    events = do([seeing])
    assert "AUC" in outcomes(events)[seeing].metrics["test"]
    assert not any(isinstance(event, Evaluated) for event in events), "it was trained anew"


def test_other_work_than_a_run(clicks, tmp_path):
    one, two = (replace(job(clicks, tmp_path / "runs", seed=seed), work=said_by) for seed in (1, 13))
    found = outcomes(do([one, two]))
    assert found[one].state == "done" and found[one].metrics == {"seed": 1, "gpu": -1}
    assert found[two].state == "failed" and found[two].reason == "ValueError: an unlucky number"
    assert not (tmp_path / "runs").exists()


def test_a_prunable_job_ends_where_it_is_told_to(clicks, tmp_path):
    pruned, whole = (job(clicks, tmp_path, seed=seed, prunable=True, epochs=4) for seed in (1, 2))

    def on_event(event):
        return not (isinstance(event, Evaluated) and event.job is pruned and event.record["evaluation"] == 2)

    found = outcomes(do([pruned, whole], on_event=on_event))
    assert (found[pruned].state, found[whole].state) == ("stopped", "done")
    folder = RunFolder(tmp_path, pruned.experiment, 1)
    assert len(folder.history) == 2 and folder.is_started


def test_an_interrupt_ends_the_jobs_and_leaves_them_resumable(clicks, tmp_path):
    long = [job(clicks, tmp_path, seed=seed, epochs=2000, early_stop_patience=2000) for seed in (1, 2)]
    seen = []

    def interrupt(event):
        seen.append(event)
        if len({event.job for event in seen if isinstance(event, Evaluated)}) == 2:
            raise KeyboardInterrupt

    clock = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        do(long, on_event=interrupt)
    assert time.monotonic() - clock < 20
    folders = [RunFolder(tmp_path, one.experiment, one.seed) for one in long]
    assert all(folder.is_started for folder in folders)
    lengths = [len(folder.history) for folder in folders]
    time.sleep(0.2)
    assert [len(folder.history) for folder in folders] == lengths, "a job still runs"
    for folder in folders:
        with folder.locked():
            pass


def test_when_its_client_is_gone_everything_ends(clicks, tmp_path):
    """A killed process closes its end of the connection, and does nothing else.

    The last of the quick tests: it ends the server that they share.
    """
    server = shared_server()
    one = job(clicks, tmp_path, epochs=5000, early_stop_patience=5000)
    pool = LocalPool(1, 1, [-1], server)
    pool.start(one)
    while not any(isinstance(event, Evaluated) for event in pool.wait()):
        pass
    server.connection.close()
    deadline = time.monotonic() + 10
    while server.is_alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.is_alive
    folder = RunFolder(tmp_path, one.experiment, 1)
    assert folder.is_started
    wait_until_free(folder)


def test_a_server_that_ends_before_it_is_ready_is_a_failure():
    server = Server()
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(RunError, match="is gone"):
        server.wait_until_ready()
    server.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a job notices at its next report")
def test_when_the_server_is_killed_the_jobs_end_and_the_pool_says_so(clicks, tmp_path):
    server = Server()
    one = job(clicks, tmp_path, epochs=5000, early_stop_patience=5000)
    with LocalPool(1, 1, [-1], server) as pool:
        pool.start(one)
        while not any(isinstance(event, Evaluated) for event in pool.wait()):
            pass
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(RunError, match="the same command goes on"):
            while True:
                pool.wait()
    wait_until_free(RunFolder(tmp_path, one.experiment, 1))
    server.close()


def wait_until_free(folder: RunFolder) -> None:
    """Until the process that wrote the folder is gone; it has been killed already."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(RunError), folder.locked():
            return
        time.sleep(0.02)
    pytest.fail("the job still runs")
