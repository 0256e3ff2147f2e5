"""Does final runs: first without, then with the test split; and measures the weights that they left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.comparing.final import Final
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.measuring import measure_latency
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.jobs import Ended, Event, Job, Outcome, Pool, do_jobs
from fuxictr_qnn.runs.names import seed_name
from fuxictr_qnn.tuning.data import SweepData

Work = Callable[[Job, int | None], dict[str, Any]]
Lost = list[tuple[Final, Outcome]]


@dataclass(frozen=True)
class Runner:
    """Does what is to be done to final runs.

    Attributes:
        make_pool: workers; with a number, so many.
        on_event: told of every event.
    """

    folder: Folder
    data: SweepData
    make_pool: Callable[[int | None], Pool]
    on_event: Callable[[Final, Event], None]
    zoo: Path | None = None

    def train(self, finals: Sequence[Final]) -> None:
        """Train these, the test split unread. A failure is kept: no seed is replaced or tried again.

        Raises:
            RunError: processes were killed; their runs go on by the same command.
        """

        def note(final: Final, outcome: Outcome) -> None:
            if outcome.state == "failed" and not outcome.killed:
                final.fail(outcome.reason)

        lost = self._do(finals, note)
        _raise_for([(final, outcome) for final, outcome in lost if outcome.killed])

    def score(self, finals: Sequence[Final]) -> None:
        """Score the test split of these; a line of the log each.

        Raises:
            RunError: a run could not be scored.
        """

        def note(final: Final, outcome: Outcome) -> None:
            if outcome.state == "done":
                self.folder.log_scoring(final.name)

        _raise_for(self._do(finals, note, test=True))

    def measure(self, finals: Sequence[Final]) -> None:
        """The latency of these, one after another; where it cannot be measured, the table has none."""
        self._do(finals, workers=1, work=measure_latency)

    def _do(
        self,
        finals: Sequence[Final],
        note: Callable[[Final, Outcome], None] = lambda final, outcome: None,
        *,
        test: bool = False,
        workers: int | None = None,
        work: Work | None = None,
    ) -> Lost:
        """Do these; returns those that came to nothing.

        Args:
            note: told of every end, before anybody else.
        """
        jobs: dict[Job, Final] = {}
        waiting, lost = self._jobs(finals, jobs, test, work), []

        def on_event(event: Event) -> None:
            final, log = jobs[event.job], event.job.log
            if isinstance(event, Ended):
                if log.exists() and not log.stat().st_size:
                    log.unlink()
                if event.outcome.state != "done":
                    lost.append((final, event.outcome))
                note(final, event.outcome)
            self.on_event(final, event)

        if finals:
            with self.make_pool(workers) as pool:
                do_jobs(pool, lambda: next(waiting, None), on_event)
        return lost

    def _jobs(
        self, finals: Sequence[Final], jobs: dict[Job, Final], test: bool, work: Work | None
    ) -> Iterator[Job]:
        """A job each, which goes to `jobs`, too."""
        for final in finals:
            trial = final.config.trial
            name = final.config.label.replace(" ", "-"), trial.digest, seed_name(final.seed)
            job = Job(
                trial.experiment,
                final.seed,
                self.data.places(trial),
                final.runs,
                zoo=self.zoo,
                test=test,
                log=self.folder.log(*name),
                data_fingerprint=final.fingerprint,
                work=work,
            )
            jobs[job] = final
            yield job


def _raise_for(lost: Lost) -> None:
    if lost:
        said = [f"{final.config.label}, seed {final.seed}: {outcome.reason}" for final, outcome in lost]
        if all(outcome.killed for _, outcome in lost):
            said.append("the same command goes on where these runs were interrupted")
        raise RunError("\n".join(said))
