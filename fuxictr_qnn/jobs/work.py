"""What the process of a job does."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fuxictr_qnn.errors import Busy, CutShort, FuxictrError
from fuxictr_qnn.jobs.job import Job, Outcome
from fuxictr_qnn.jobs.threads import limit_threads
from fuxictr_qnn.training.fit import Hooks, Position
from fuxictr_qnn.training.run import run_seed

BUSY_TIMEOUT = 15.0  # seconds that a run may be in the hands of another process

Report = tuple[str, Any]  # "began", seconds | "evaluated", record


class _Stopped(Exception):
    """Whoever listens wants no more of this run."""


def carry_out(
    job: Job, threads: int, gpu: int | None, tell: Callable[[Report], bool], forked: float
) -> Outcome:
    """Do the run of a job; whatever goes wrong is an outcome, too.

    Args:
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        tell: passes a report on; False after an evaluation ends the run there.
        forked: when this process began, by time.monotonic().
    """
    try:
        limit_threads(threads)
        if job.work is not None:
            outcome = Outcome("done", metrics=job.work(job, gpu))
        else:
            outcome = _run(job, gpu, _hooks(tell, forked))
    except _Stopped:
        outcome = Outcome("stopped")
    except CutShort as error:
        outcome = Outcome("failed", reason=error.what, killed=True)
    except FuxictrError as error:
        outcome = Outcome("failed", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome("failed", reason=f"{type(error).__name__}: {error}")
    return replace(outcome, seconds=round(time.monotonic() - forked, 3))


def _run(job: Job, gpu: int | None, hooks: Hooks) -> Outcome:
    """The run, once whoever had it before is gone: what a killed command had started may need a moment."""
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            return _run_once(job, gpu, hooks)
        except Busy:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _run_once(job: Job, gpu: int | None, hooks: Hooks) -> Outcome:
    result = run_seed(
        job.experiment,
        job.seed,
        places=job.places,
        out=job.out,
        gpu=gpu,
        zoo=job.zoo,
        resume=True,
        force=job.restart,
        test=job.test,
        data_fingerprint=job.data_fingerprint,
        hooks=hooks,
    )
    return Outcome("done", metrics=result.metrics, reused=result.reused)


def _hooks(tell: Callable[[Report], bool], forked: float) -> Hooks:
    begun = False

    def on_step(position: Position, steps_per_epoch: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            tell(("began", round(time.monotonic() - forked, 3)))

    def on_evaluation(record: dict[str, Any]) -> None:
        if not tell(("evaluated", record)):
            raise _Stopped

    return Hooks(on_step=on_step, on_evaluation=on_evaluation)
