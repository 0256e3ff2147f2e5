"""Workers that are tasks of Ray, on a cluster or on this machine. Imports Ray when a pool is entered."""

from __future__ import annotations

import logging
import os
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

from fuxictr_qnn.errors import RunError, last_line
from fuxictr_qnn.jobs.job import Began, Ended, Evaluated, Event, Job, Outcome

RESTARTS = 3  # how often a task is started anew after its worker was lost

_LOOK_EVERY = 0.2  # seconds between looks at what tasks have said
_ASK_EVERY = 0.05  # seconds between a task's looks for an answer


class _Box:
    """What tasks tell the process that started them, and its answers; an actor of Ray."""

    def __init__(self):
        self.said, self.answers = [], {}

    def tell(self, key: int, report: tuple[str, Any]) -> None:
        self.said.append((key, report))
        self.answers.pop(key, None)  # for a worker that was lost before it took it

    def take(self) -> list[tuple[int, tuple[str, Any]]]:
        """What was said since the last call."""
        said, self.said = self.said, []
        return said

    def set_answer(self, key: int, go_on: bool) -> None:
        self.answers[key] = go_on

    def take_answer(self, key: int) -> bool | None:
        return self.answers.pop(key, None)


class RayPool:
    """So many tasks of Ray at a time: of the cluster at $RAY_ADDRESS, else of a Ray on this machine.

    A task whose worker or machine is lost is started anew, up to three times, and goes on from the last
    checkpoint of its run. All machines have to see the run folders and the data under the same paths.

    Args:
        use_gpu: each task takes a GPU if the cluster has any.
    """

    def __init__(self, workers: int = 1, use_gpu: bool = True):
        self.workers, self.use_gpu = workers, use_gpu
        self._keys = 0
        self._jobs: dict[Any, tuple[int, Job]] = {}  # by Ray's reference to the task

    def __enter__(self) -> RayPool:
        import ray

        # Without a cluster: as many CPUs as there are, but at least one for each worker.
        alone = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": max(self.workers, os.cpu_count() or 1)}
        try:
            ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False, **alone)
        except Exception as error:  # Ray says by a bare Exception that it does not start
            raise RunError(f"--backend ray: Ray does not start: {last_line(error)}") from error
        resources = ray.cluster_resources()
        largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
        given = os.environ.get("OMP_NUM_THREADS", "")
        share = int(given) if given.isdigit() else int(resources.get("CPU", 1)) // self.workers
        self.threads = max(1, min(share, int(largest)))  # a task that fits no machine waits for ever
        gpus = 1 if self.use_gpu and resources.get("GPU", 0) else 0
        self._ray = ray
        self._box = ray.remote(num_cpus=0)(_Box).remote()
        self._task = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=RESTARTS)(_work)
        self._gpu = 0 if gpus else -1  # Ray shows a task its own GPU only
        return self

    def __exit__(self, *exception: object) -> None:
        for task in self._jobs:
            with suppress(Exception):
                self._ray.cancel(task, force=True)
        self._ray.shutdown()

    @property
    def free(self) -> int:
        return self.workers - len(self._jobs)

    @property
    def running(self) -> list[Job]:
        return [job for _, job in self._jobs.values()]

    def start(self, job: Job) -> None:
        self._keys += 1
        task = self._task.remote(job, self._keys, self._box, self.threads, self._gpu, os.getcwd())
        self._jobs[task] = self._keys, job

    def wait(self) -> list[Event]:
        while True:
            try:
                ended, _ = self._ray.wait(list(self._jobs), timeout=_LOOK_EVERY)
                events = self._said()
            except self._ray.exceptions.RayError as error:
                raise RunError(f"--backend ray: {last_line(error)}; the same command goes on") from error
            events += [self._end(task) for task in ended]
            if events:
                return events

    def answer(self, job: Job, go_on: bool) -> None:
        for key, other in self._jobs.values():
            if other is job:
                self._ray.get(self._box.set_answer.remote(key, go_on))

    def _said(self) -> list[Event]:
        jobs = dict(self._jobs.values())
        return [
            Began(jobs[key], value) if what == "began" else Evaluated(jobs[key], value)
            for key, (what, value) in self._ray.get(self._box.take.remote())
            if key in jobs
        ]

    def _end(self, task: Any) -> Event:
        _, job = self._jobs.pop(task)
        try:
            return Ended(job, self._ray.get(task))
        except self._ray.exceptions.RayTaskError as error:  # a worker lacks the package, say
            return Ended(job, Outcome("failed", reason=f"its task failed: {last_line(error)}"))
        except self._ray.exceptions.RayError as error:
            lost = f"Ray gave it up after {RESTARTS} restarts: {last_line(error)}"
            return Ended(job, Outcome("failed", reason=lost, killed=True))


def _work(job: Job, key: int, box: Any, threads: int, gpu: int, folder: str) -> Outcome:
    """A task: one job."""
    import ray

    from fuxictr_qnn.jobs.work import carry_out

    with suppress(OSError):  # on another machine
        os.chdir(folder)
    logging.getLogger().addHandler(logging.NullHandler())
    if job.log is not None:
        job.log.parent.mkdir(parents=True, exist_ok=True)

    def tell(report: tuple[str, Any]) -> bool:
        ray.get(box.tell.remote(key, report))
        if not job.prunable or report[0] != "evaluated":
            return True
        while (answer := ray.get(box.take_answer.remote(key))) is None:
            time.sleep(_ASK_EVERY)
        return answer

    with open(job.log or os.devnull, "a") as log, redirect_stdout(log), redirect_stderr(log):
        return carry_out(job, threads, gpu, tell, time.monotonic())
