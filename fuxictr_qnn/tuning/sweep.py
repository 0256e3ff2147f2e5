"""A sweep in its folder: which trials there are, how they stand, and what is done next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError, do_all, nearest
from fuxictr_qnn.jobs import Ended, Evaluated, Event, Job, Outcome, Pool, do_jobs
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.pruning import RULES
from fuxictr_qnn.tuning.search import Planned, Search, at_random, grid
from fuxictr_qnn.tuning.space import Space, Trial, value_text
from fuxictr_qnn.tuning.store import Standing, Store, TrialFolder, monitored
from fuxictr_qnn.tuning.tpe import Tpe


@dataclass(eq=False)
class Row:
    """A trial of this sweep and how it stands now.

    Attributes:
        began: of a trial under way, when it was started, by time.monotonic().
        record: of a trial under way, the line of its last evaluation.
        mine: whether this session has done it, or is at it.
    """

    trial: Trial
    folder: TrialFolder
    standing: Standing
    began: float | None = None
    record: dict[str, Any] = field(default_factory=dict)
    mine: bool = False

    @property
    def is_running(self) -> bool:
        return self.began is not None


Watch = Callable[["Sweep", Row, Event], None]


class Sweep:
    """Does the trials of a space, each once, whatever happened in earlier sessions.

    Args:
        space: what is varied.
        store: the folder of the sweep.
        data: what the trials read.
        options: how to search.
        fingerprint_of: trial -> the fingerprint of its data; None: it is not built, and so nothing was done
            on it. The default builds it.

    Raises:
        RequestError: data, options or files of earlier trials are wrong. RunError: building the data failed.
    """

    def __init__(
        self,
        space: Space,
        store: Store,
        data: SweepData,
        options: Options,
        fingerprint_of: Callable[[Trial], str | None] | None = None,
    ):
        self.space, self.store, self.data, self.options = space, store, data, options
        self.rows: dict[str, Row] = {}  # by the identity of the trial
        self._by_folder: dict[Path, Row] = {}
        self.maximise = space.fit.monitor_mode == "max"
        self._fingerprint_of = fingerprint_of or data.ready
        self._rule = RULES[options.prune] if options.prune else None
        self.search = self._search()
        self._add_all(self.search.planned)
        if isinstance(self.search, Planned):
            self._add_done()
        if options.tag is not None and not any(self._is_tagged(trial) for trial in self.search.planned):
            names = [text for trial in self.search.planned for text in (trial.digest, *trial.words)]
            raise RequestError(
                f"--tag {options.tag}: no trial has it in its hash or values.{nearest(options.tag, names)}"
            )

    def _search(self) -> Search:
        options = self.options
        if options.search == "grid":
            return Planned(grid(self.space, options.trials))
        if options.search == "random":
            return Planned(at_random(self.space, options.trials))
        return Tpe(self.space, list(self._known(self._fingerprint_of)), options.trials, self.maximise)

    def _known(self, fingerprint_of: Callable[[Trial], str | None]) -> Iterator[Trial]:
        """The trials of earlier sessions that are points of this space, on today's data."""
        for fingerprint, folder, values in self.store.kept():
            if self.space.holds(values):
                trial = self.space.trial({key: values[key] for key in self.space.axes})
                if folder == self.store.of(trial, fingerprint).path:
                    if fingerprint_of(trial) == fingerprint:
                        yield trial

    def _add_all(self, trials: list[Trial]) -> None:
        one_each = {trial.dataset.model_dump_json(): trial for trial in trials}
        do_all(lambda trial=trial: self._fingerprint_of(trial) for trial in one_each.values())
        do_all(lambda trial=trial: self._add(trial) for trial in trials)

    def _add_done(self) -> None:
        """What earlier sessions did of this space beyond these trials: the best one may be among it."""
        for trial in self._known(self.data.found):  # builds nothing that this search does not need
            if trial.identity not in self.rows:
                folder = self.store.of(trial, self.data.found(trial))
                if folder.standing().state == "done":
                    self._add(trial)

    def _add(self, trial: Trial) -> Row:
        """A row for a trial, as it stands on disk. Trials that read equal files are one."""
        folder = self.store.of(trial, self._fingerprint_of(trial) or "not built")
        row = self._by_folder.get(folder.path) or Row(trial, folder, folder.standing())
        self.rows[trial.identity] = self._by_folder[folder.path] = row
        return row

    # What there is

    @property
    def all_rows(self) -> list[Row]:
        """In the order in which they became known; made in one piece, for whoever looks on from a thread."""
        return list(self._by_folder.values())

    @property
    def done(self) -> list[Row]:
        """The trials that are done, the best first."""
        rows = [row for row in self.all_rows if row.standing.state == "done"]
        return sorted(rows, key=lambda row: row.standing.value, reverse=self.maximise)

    @property
    def winners(self) -> list[Row]:
        """The done trials of the best settings, the best first: one, or where seeds are swept, one a seed.

        The mean over the seeds decides, so that no lucky seed does; settings that failed or were pruned with
        some seed come after all others.
        """
        groups: dict[Path, list[Row]] = {}
        for row in self.done:
            groups.setdefault(row.folder.path.parent, []).append(row)
        lost = {r.folder.path.parent for r in self.all_rows if r.standing.state in ("failed", "pruned")}
        sign = 1 if self.maximise else -1

        def rank(group: list[Row]) -> tuple[bool, float]:
            return group[0].folder.path.parent not in lost, sign * _mean(group)

        return max(groups.values(), key=rank, default=[])

    @property
    def best(self) -> Row | None:
        """The best trial of the best settings."""
        return next(iter(self.winners), None)

    @property
    def best_value(self) -> float:
        """The monitored value of the best settings, the mean over their seeds."""
        return _mean(self.winners)

    def count(self, *states: str) -> int:
        """How many trials stand so."""
        return sum(row.standing.state in states for row in self.all_rows)

    @property
    def to_do(self) -> int:
        """How many trials are still to be done, or under way."""
        unasked = max(0, self.search.count - len(self.rows))
        return unasked + sum(row.is_running or not self._is_settled(row) for row in self.all_rows)

    @property
    def others(self) -> int:
        """How many trials in the folder do not count here: of other values, or on other data, or begun by
        another search and not done.
        """
        return sum(folder not in self._by_folder for _, folder, _ in self.store.kept())

    # Doing it

    def next_row(self) -> Row | None:
        """The next trial to do; what the search knows already is told to it on the way."""
        while (trial := self.search.ask()) is not None:
            row = self.rows.get(trial.identity) or self._add(trial)
            if not self._is_settled(row):
                return row
            if row.standing.state in ("done", "pruned", "failed"):
                self.search.tell(trial, self._told(row.standing))
        return None

    def _is_settled(self, row: Row) -> bool:
        """Whether there is nothing to do for a trial. A pruned one is done anew where nothing is pruned."""
        state = row.standing.state
        if row.mine or state == "done" or not self._is_tagged(row.trial):
            return True
        if state == "failed":
            return not (self.options.retry_failed or (self.options.retry_killed and row.standing.killed))
        return state == "pruned" and self._rule is not None

    def _is_tagged(self, trial: Trial) -> bool:
        """Whether the tag is one `key=value` of the trial, or stands in its hash or values."""
        tag = self.options.tag
        if tag is not None and "=" in tag:  # num_row=1 is not num_row=13
            return tag in trial.words
        return tag is None or any(
            tag in text for text in (trial.digest, *map(value_text, trial.values.values()))
        )

    def start(self, row: Row) -> Job:
        """The job of a trial, which is under way from now on."""
        trial, before = row.trial, row.standing
        restart = before.state == "pruned" or (before.state == "failed" and not before.killed)
        row.folder.begin()
        row.standing = (
            Standing("begun") if restart else Standing("begun", before.value, curve=list(before.curve))
        )
        row.began, row.record, row.mine = time.monotonic(), {}, True
        return Job(
            experiment=trial.experiment,
            seed=trial.seed,
            places=self.data.places(trial),
            out=row.folder.path.parents[1],
            zoo=self.space.zoo,
            test=False,
            restart=restart,
            prunable=self._rule is not None,
            log=self.store.log(trial),
            data_fingerprint=row.folder.fingerprint,
        )

    def note(self, row: Row, event: Event) -> bool:
        """Keep what an event says; False where a trial is hopeless."""
        if isinstance(event, Evaluated):
            row.record = event.record
            curve = row.standing.curve[: event.record["evaluation"] - 1]  # a resumed run may evaluate again
            curve.append(monitored(event.record, row.trial.experiment.fit))
            best = (max if self.maximise else min)(curve)
            row.standing = Standing("begun", best, curve=curve)
            return self._rule is None or self._is_hopeful(row)
        if isinstance(event, Ended):
            self._end(row, event.outcome)
        return True

    def _is_hopeful(self, row: Row) -> bool:
        sign = 1 if self.maximise else -1
        others = [other for other in self.all_rows if other is not row and other.standing.curve]
        curve, *curves = ([sign * value for value in one.standing.curve] for one in (row, *others))
        return self._rule(curve, curves)

    def _end(self, row: Row, outcome: Outcome) -> None:
        value, curve = row.standing.value, row.standing.curve
        if outcome.state == "done":
            value = monitored(outcome.metrics["valid"], row.trial.experiment.fit)
            row.standing = Standing("done", value, outcome.metrics, curve)
        elif outcome.state == "stopped":
            reason = f"{self.options.prune}, after evaluation {len(curve)}"
            row.folder.prune(reason)
            row.standing = Standing("pruned", value, curve=curve, reason=reason)
        else:
            row.folder.fail(outcome.reason, outcome.killed)
            row.standing = Standing("failed", value, None, curve, outcome.reason, outcome.killed)
        row.began = None
        self.search.tell(row.trial, self._told(row.standing))
        self.drop_weights()

    def drop_weights(self) -> None:
        """Only the best few keep theirs."""
        for row in self.done[self.options.keep :]:
            row.folder.drop_weights()

    @staticmethod
    def _told(standing: Standing) -> float | None:
        return None if standing.state == "failed" else standing.value


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.standing.value for row in rows) / len(rows)


def run_sweeps(sweeps: Sequence[Sweep], pool: Pool, watch: Watch = lambda sweep, row, event: None) -> None:
    """Do what is to be done in several sweeps at one pool, the first ones first.

    Their folders have to be locked.

    Args:
        watch: told of every event, after it has been dealt with.

    Raises:
        RunError: the pool is lost, or the disk failed.
    """
    jobs: dict[Job, tuple[Sweep, Row]] = {}

    def next_job() -> Job | None:
        for sweep in sweeps:
            if (row := sweep.next_row()) is not None:
                job = sweep.start(row)
                jobs[job] = sweep, row
                return job
        return None

    def on_event(event: Event) -> bool:
        sweep, row = jobs[event.job]
        go_on = sweep.note(row, event)
        watch(sweep, row, event)
        return go_on

    do_jobs(pool, next_job, on_event)
