"""A pool without processes and training: its jobs leave the files that real runs leave."""

from __future__ import annotations

from collections.abc import Callable

from fuxictr_qnn.jobs import Began, Ended, Evaluated, Event, Job, Outcome
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.run_folder import RunFolder

Curve = Callable[[Experiment], list[float]]


def by_rows(experiment: Experiment) -> list[float]:
    """AUC by epoch: better with num_row, worse with dropout, rising over the epochs."""
    params = experiment.model_params
    top = 0.6 + 0.02 * params.get("num_row", 2) - 0.1 * params["net_dropout"]
    return [round(top - 0.05 / epoch, 6) for epoch in range(1, experiment.fit.epochs + 1)]


class FakePool:
    """Does jobs a step at a time, in turns: an event is an evaluation, or the end.

    Args:
        curve: experiment -> the monitored value at each evaluation.
        fails: experiment -> why it fails after its first evaluation; None: it does not. A text that begins
            with "killed" is what a signal does.
        die_after: so many events later wait() raises Killed, and nothing is cleaned up.

    Attributes:
        job: the one whose step is done, for a curve that wants its seed.
    """

    class Killed(BaseException):
        """As kill -9 of the sweep and its workers."""

    def __init__(
        self, workers: int = 1, curve: Curve = by_rows, fails=lambda experiment: None, die_after=None
    ):
        self.workers, self.curve, self.fails, self.die_after = workers, curve, fails, die_after
        self.started: list[Job] = []
        self.completed: list[str] = []
        self._running: dict[Job, list[Event]] = {}
        self._answers: dict[Job, bool] = {}
        self._cleared: set[Job] = set()

    def __enter__(self) -> FakePool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._running.clear()

    @property
    def free(self) -> int:
        return self.workers - len(self._running)

    @property
    def running(self) -> list[Job]:
        return list(self._running)

    def start(self, job: Job) -> None:
        assert self.free
        self.started.append(job)
        self._running[job] = [Began(job, 0.1)]

    def answer(self, job: Job, go_on: bool) -> None:
        self._answers[job] = go_on

    def wait(self) -> list[Event]:
        if self.die_after is not None:
            self.die_after -= 1
            if self.die_after < 0:
                raise self.Killed
        job = next(iter(self._running))
        events = self._running.pop(job) or [self._step(job)]
        if not isinstance(events[-1], Ended):
            self._running[job] = []
        return events

    def _step(self, job: Job) -> Event:
        self.job = job
        experiment, folder = job.experiment, RunFolder(job.out, job.experiment, job.seed)
        if folder.metrics is not None and not job.restart:
            return Ended(job, Outcome("done", metrics=folder.metrics, reused=True))
        if self._answers.pop(job, True) is False:
            return Ended(job, Outcome("stopped"))
        folder.path.mkdir(parents=True, exist_ok=True)
        fingerprint = job.out.name.removeprefix("data-")
        if not folder.is_started or (job.restart and job not in self._cleared):
            folder.clear()
            self._cleared.add(job)
            folder.write_config(experiment, job.seed, fingerprint)
            (folder.path / "model.pt").write_bytes(b"weights")
            (folder.path / "checkpoint.pt").write_bytes(b"state")
        curve, history = self.curve(experiment), folder.history
        reason = self.fails(experiment)
        if history and reason:
            return Ended(job, Outcome("failed", reason=reason, killed=reason.startswith("killed")))
        if len(history) < len(curve):
            record = {"evaluation": len(history) + 1, "epoch": len(history) + 1, "AUC": curve[len(history)]}
            folder.append_history(record | {"logloss": 0.5})
            return Evaluated(job, folder.history[-1])
        return self._complete(job, folder, fingerprint, max(curve))

    def _complete(self, job: Job, folder: RunFolder, fingerprint: str, auc: float) -> Event:
        metrics = {
            "expid": job.experiment.expid,
            "seed": job.seed,
            "valid": {"AUC": auc, "logloss": 0.5},
            "parameters": 100,
            "epochs": len(folder.history),
            "best_epoch": len(folder.history),
            "seconds": {"train": 1.0},
            "data_fingerprint": fingerprint,
            "config_digest": job.experiment.digest,
        }
        folder.complete(metrics)
        self.completed.append(str(folder.path))
        return Ended(job, Outcome("done", metrics=metrics))
