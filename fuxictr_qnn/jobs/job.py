"""One run as a job, what becomes known of it, and what a pool of workers offers. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from fuxictr_qnn.data.places import Places
from fuxictr_qnn.training.experiment import Experiment


@dataclass(frozen=True, eq=False)
class Job:
    """A validated experiment, its seed and where its run folder goes. Compared by identity.

    Attributes:
        out: the root of the run folders.
        zoo: a FuxiCTR model_zoo folder to look in first.
        test: score the test split; False leaves it unread.
        restart: start anew; else an incomplete run goes on, and a complete one is kept.
        prunable: after each evaluation the run waits for the answer to `Evaluated`.
        log: gets what its process prints: tracebacks, and what a crash says.
        data_fingerprint: that the data must have, where it is known.
        work: (job, gpu) -> metrics, a function that pickle finds by its name: it is done instead of the run.
    """

    experiment: Experiment
    seed: int
    places: Places
    out: Path
    zoo: Path | None = None
    test: bool = True
    restart: bool = False
    prunable: bool = False
    log: Path | None = None
    data_fingerprint: str | None = None
    work: Callable[[Job, int | None], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        metrics: the contents of metrics.json if it is done.
        reason: why it failed, in a sentence or two.
        killed: ended from outside, by a signal or a full disk: the same job may well go on from where it was.
        reused: the run was complete already.
        seconds: from the fork to the end.
    """

    state: Literal["done", "failed", "stopped"]
    metrics: dict[str, Any] | None = None
    reason: str = ""
    killed: bool = False
    reused: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Began:
    """The first training step is done, so many seconds after the fork."""

    job: Job
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """An evaluation; `record` is its line of the history."""

    job: Job
    record: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Ended:
    job: Job
    outcome: Outcome = field(hash=False)


Event = Began | Evaluated | Ended


class Pool(Protocol):
    """Workers that do jobs. A context manager: leaving it ends what still runs, resumable as after a kill."""

    def __enter__(self) -> Pool: ...

    def __exit__(self, *exception: object) -> None: ...

    @property
    def free(self) -> int:
        """How many more jobs can be started now."""

    @property
    def running(self) -> list[Job]:
        """The jobs under way, in the order of their start."""

    def start(self, job: Job) -> None:
        """Start a job; one has to be free."""

    def wait(self) -> list[Event]:
        """What happened since the last call; waits for at least one event.

        Raises:
            RunError: the pool itself is lost.
        """

    def answer(self, job: Job, go_on: bool) -> None:
        """Let a prunable job go on after its `Evaluated`, or end it there as stopped."""
