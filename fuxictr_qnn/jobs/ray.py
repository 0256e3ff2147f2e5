"""Workers that are trials of Ray Tune, on a cluster or on this machine."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import deque
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # else a thread that outlives Ray's shutdown starts another Ray

import ray  # noqa: E402  (reads it)
from ray import tune  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from fuxictr_qnn.errors import RunError, last_line  # noqa: E402
from fuxictr_qnn.jobs.job import Began, Ended, Evaluated, Event, Job, Outcome  # noqa: E402
from fuxictr_qnn.runs.names import config_name, seed_name  # noqa: E402

RESTARTS = 3  # how often a trial is started anew after its worker was lost

_LOOK_EVERY = 0.2  # seconds between looks at what trials have said
_ASK_EVERY = 0.05  # seconds between a trial's looks for an answer
_END_TIMEOUT = 30.0  # seconds that Ray Tune has to end by itself
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # we print what there is to say
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # run folders hold the history
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


class _Box:
    """Jobs for trials, what trials tell the process that started them, and its answers; an actor of Ray."""

    def __init__(self):
        self.jobs, self.said, self.answers = {}, [], {}

    def put(self, key: int, job: Job) -> None:
        self.jobs[key] = job

    def job(self, key: int) -> Job | None:
        """None where it has ended: a worker can be lost between its last word and its return."""
        return self.jobs.get(key)

    def tell(self, key: int, report: tuple[str, Any]) -> None:
        self.said.append((key, report))
        self.answers.pop(key, None)  # for a worker that was lost before it took it
        if report[0] == "began":  # the next worker goes on
            self.jobs[key] = replace(self.jobs[key], restart=False)
        if report[0] == "ended":
            del self.jobs[key]

    def take(self) -> list[tuple[int, tuple[str, Any]]]:
        """What was said since the last call."""
        said, self.said = self.said, []
        return said

    def set_answer(self, key: int, go_on: bool) -> None:
        self.answers[key] = go_on

    def take_answer(self, key: int) -> bool | None:
        return self.answers.pop(key, None)


class _Feed(Searcher):
    """Ray Tune's search: it suggests the jobs that wait, by their keys, until it is closed."""

    def __init__(self):
        super().__init__()
        self.waiting: deque[dict[str, Any]] = deque()
        self.closed = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.closed:
            return self.FINISHED
        return self.waiting.popleft() if self.waiting else None

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """The sweep knows it from the box."""

    def __getstate__(self) -> dict[str, Any]:
        """Ray Tune pickles it while jobs are added; nothing is restored from that."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """The run folders say what is done."""

    def restore(self, checkpoint_path: str) -> None:
        """Never asked for."""


class _Lost(tune.Callback):
    """Collects the trials that Ray Tune gave up, as (key, error)."""

    def __init__(self):
        self.trials: deque[tuple[int, Exception | None]] = deque()

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.trials.append((trial.config["key"], trial.get_pickled_error()))


class _Stop(tune.Stopper):
    """Ends what still runs when the feed is closed."""

    def __init__(self, feed: _Feed):
        self.feed = feed

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.feed.closed


class RayPool:
    """So many trials of Ray Tune at a time: on the cluster at $RAY_ADDRESS, else on a Ray of this machine.

    Each trial has the name of its run folder. One whose worker or machine is lost is started anew, up to
    three times, and goes on from the last checkpoint of its run. All machines have to see the run folders and
    the data under the same paths.

    Args:
        folder: for what Ray Tune keeps while it runs, seen by all machines; removed in the end.
        use_gpu: each trial takes a GPU if the cluster has any.
    """

    def __init__(self, folder: Path, workers: int = 1, use_gpu: bool = True):
        self.folder, self.workers, self.use_gpu = folder.resolve(), workers, use_gpu
        self._keys = 0
        self._jobs: dict[int, Job] = {}
        self._feed, self._lost = _Feed(), _Lost()
        self._why = "Ray Tune has ended"

    def __enter__(self) -> RayPool:
        os.environ.update(_ENVIRONMENT)
        # Without a cluster: as many CPUs as there are, but at least one for each worker.
        alone = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": max(self.workers, os.cpu_count() or 1)}
        try:
            ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False, **alone)
        except Exception as error:  # Ray says by a bare Exception that it does not start
            raise RunError(f"--backend ray: Ray does not start: {last_line(error)}") from error
        try:
            self._begin()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def _begin(self) -> None:
        """Start Ray Tune in a thread of its own; it begins a trial when a job is started."""
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # lost workers: we say what became of them
        resources = ray.cluster_resources()
        largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        given = os.environ.get("OMP_NUM_THREADS", "")
        share = int(given) if given.isdigit() else int(resources.get("CPU", 1)) // self.workers
        self.threads = max(1, min(share, int(largest)))  # a trial that fits no machine waits for ever
        gpus = 1 if self.use_gpu and resources.get("GPU", 0) else 0
        self._box = ray.remote(num_cpus=0)(_Box).remote()
        # Ray shows a trial its own GPU only.
        own = {"box": self._box, "threads": self.threads, "gpu": 0 if gpus else -1, "folder": os.getcwd()}
        self._thread = Thread(target=self._fit, args=(self._tuner(own, gpus),), daemon=True)
        self._thread.start()

    def _tuner(self, own: dict[str, Any], gpus: int) -> tune.Tuner:
        shutil.rmtree(self.folder, ignore_errors=True)  # of a sweep that was killed
        trial = tune.with_resources(tune.with_parameters(_work, **own), {"cpu": self.threads, "gpu": gpus})
        return tune.Tuner(
            trial,
            tune_config=tune.TuneConfig(
                search_alg=self._feed,
                num_samples=-1,  # until the pool is left
                max_concurrent_trials=self.workers,
                reuse_actors=False,  # with it, one lost worker leaves Ray Tune (2.60) with one less for good
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                storage_path=str(self.folder.parent),
                name=self.folder.name,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                stop=_Stop(self._feed),
                callbacks=[self._lost],
                verbose=0,
            ),
        )

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
        except BaseException as error:  # of a thread: `wait` raises it
            self._why = last_line(error)

    def __exit__(self, *exception: object) -> None:
        self._feed.closed = True
        self._thread.join(_END_TIMEOUT)
        ray.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def free(self) -> int:
        return self.workers - len(self._jobs)

    @property
    def running(self) -> list[Job]:
        return list(self._jobs.values())

    def start(self, job: Job) -> None:
        self._keys += 1
        self._jobs[self._keys] = job
        self._ask(self._box.put.remote(self._keys, job))
        name = f"{config_name(job.experiment.expid, job.experiment.digest)}-{seed_name(job.seed)}"
        self._feed.waiting.append({"key": self._keys, "name": name})

    def wait(self) -> list[Event]:
        while True:
            if events := [*self._said(), *self._given_up()]:
                return events
            if not self._thread.is_alive():
                raise RunError(f"--backend ray: {self._why}; the same command goes on")
            time.sleep(_LOOK_EVERY)

    def answer(self, job: Job, go_on: bool) -> None:
        for key, other in self._jobs.items():
            if other is job:
                self._ask(self._box.set_answer.remote(key, go_on))

    def _ask(self, answer: Any) -> Any:
        """What the box answers."""
        try:
            return ray.get(answer)
        except ray.exceptions.RayError as error:
            raise RunError(f"--backend ray: {last_line(error)}; the same command goes on") from error

    def _said(self) -> list[Event]:
        kinds = {"began": Began, "evaluated": Evaluated}
        events: list[Event] = []
        for key, (what, value) in self._ask(self._box.take.remote()):
            if key not in self._jobs:  # given up meanwhile
                continue
            if what in kinds:
                events.append(kinds[what](self._jobs[key], value))
            else:
                events.append(Ended(self._jobs.pop(key), value))
        return events

    def _given_up(self) -> list[Event]:
        events: list[Event] = []
        while self._lost.trials:
            key, error = self._lost.trials.popleft()
            if key not in self._jobs:
                continue
            if isinstance(error, ray.exceptions.RayTaskError):  # a worker lacks the package, say
                outcome = Outcome("failed", reason=f"its trial failed: {last_line(error)}")
            else:
                why = last_line(error).partition(". ")[0]  # a page of advice comes after it
                lost = f"Ray Tune gave it up after {RESTARTS} restarts: {why}"
                outcome = Outcome("failed", reason=lost, killed=True)
            events.append(Ended(self._jobs.pop(key), outcome))
        return events


def _name(trial: Any) -> str:
    return trial.config["name"]


def _work(config: dict[str, Any], box: Any, threads: int, gpu: int, folder: str) -> None:
    """A trial: one job."""
    from fuxictr_qnn.jobs.work import carry_out

    key = config["key"]
    job = ray.get(box.job.remote(key))
    if job is None:
        return
    with suppress(OSError):  # on another machine
        os.chdir(folder)
    logging.getLogger().addHandler(logging.NullHandler())
    if job.log is not None:
        job.log.parent.mkdir(parents=True, exist_ok=True)

    def tell(report: tuple[str, Any]) -> bool:
        ray.get(box.tell.remote(key, report))
        if report[0] != "evaluated":
            return True
        tune.report(report[1])
        if not job.prunable:
            return True
        while (answer := ray.get(box.take_answer.remote(key))) is None:
            time.sleep(_ASK_EVERY)
        return answer

    with open(job.log or os.devnull, "a") as log, redirect_stdout(log), redirect_stderr(log):
        outcome = carry_out(job, threads, gpu, tell, time.monotonic())
    ray.get(box.tell.remote(key, ("ended", outcome)))
