"""What a comparison will cost and can show, from what was measured here: `--plan`, and `--budget`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.comparing.budget import EPOCH_SHARE, LEAST_EPOCHS, Rate
from fuxictr_qnn.comparing.drawing import Points
from fuxictr_qnn.comparing.entrants import Entrant, without_recipes
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.measuring import time_epoch
from fuxictr_qnn.comparing.opening import Prepared
from fuxictr_qnn.comparing.progress import parts
from fuxictr_qnn.comparing.terms import Terms
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.jobs import Ended, Event, Job, Pool, do_jobs
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS
from fuxictr_qnn.reporting.statistics import detectable_difference, pooled_sd
from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.runs.names import config_name
from fuxictr_qnn.runs.run import epochs_trained
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.space import Trial
from fuxictr_qnn.tuning.store import monitored

MEASURED = 4  # points of a model's space that are timed

# Standard deviations of AUC over seeds that are known, and from where.
ASSUMED_SD = (0.0003, 0.0012)
ASSUMED_FROM = "QNNalpha on Frappe and ML-1M, 3 seeds, model_zoo/QNNalpha/README.md"


@dataclass(frozen=True)
class PlanLine:
    """An entrant's part of the plan: runs in all, those that are done, and the rate of the others."""

    rate: Rate
    trials: int
    seeds: int
    done: int
    what: str = ""

    @property
    def left(self) -> int:
        return max(0, self.trials + self.seeds - self.done)


@dataclass(frozen=True)
class Plan:
    """What `--plan` prints.

    Attributes:
        sd: standard deviations of AUC over seeds, lowest and highest; `sd_from` says from where.
        tests: of the family.
    """

    lines: list[PlanLine]
    terms: Terms
    workers: int
    sd: tuple[float, ...]
    sd_from: str
    tests: int

    @property
    def expected(self) -> float:
        """Seconds with these workers."""
        return sum(line.left * line.rate.expected for line in self.lines) / self.workers

    @property
    def at_most(self) -> float:
        return sum(line.left * line.rate.at_most for line in self.lines) / self.workers

    @property
    def scorings(self) -> int:
        return sum(line.seeds for line in self.lines)

    @property
    def detectable(self) -> dict[int, list[float]]:
        """Number of seeds -> smallest difference for each `sd`; empty where nothing is tested."""
        if self.tests < 1 or self.terms.seeds < LEAST_SEEDS:
            return {}
        return {
            seeds: [detectable_difference(sd, seeds, tests=self.tests) for sd in self.sd]
            for seeds in sorted({self.terms.seeds, self.terms.last_seed})
        }


def make_plan(prepared: Prepared, rates: dict[str, Rate], folder: Folder, workers: int) -> Plan:
    """The plan of a comparison of which perhaps a part is done."""
    entrants, terms = prepared.entrants, prepared.terms
    lines = [
        PlanLine(rates[label], part.trials, part.seeds, part.done)
        for label, part in parts(prepared, folder).items()
    ]
    lines += [] if folder.chosen else _more_seeds(lines, terms)
    groups = list(_aucs(folder, without_recipes(entrants)))
    sd = pooled_sd(groups)
    known = f"{sum(map(len, groups))} final runs in {folder.path}"
    return Plan(
        lines,
        terms,
        workers,
        ASSUMED_SD if sd is None else (sd,),
        f"assumed: {ASSUMED_FROM}" if sd is None else known,
        tests=len(without_recipes(entrants)) - 1,
    )


def _more_seeds(lines: Sequence[PlanLine], terms: Terms) -> Iterator[PlanLine]:
    """The seeds that the comparator and the best proposed model get, while it is not known which they are."""
    if terms.last_seed > terms.seeds:
        dearest = sorted(
            (line.rate for line in lines if not line.rate.recipe), key=lambda rate: -rate.expected
        )
        for rate in dearest[:2]:
            yield PlanLine(rate, 0, terms.last_seed - terms.seeds, 0, ", or whichever gets more seeds")


def _metrics(folder: Folder, entrant: Entrant, part: str) -> list[dict[str, Any]]:
    """metrics.json of an entrant's complete runs: "tune" or "runs"."""
    pattern = f"tune/{entrant.expid}/data-*/*/seed*" if part == "tune" else f"runs/{entrant.expid}-*/seed*"
    if entrant.recipe:
        pattern = f"runs/{config_name(entrant.expid, entrant.base.digest)}/seed*"
    found = []
    for file in sorted(folder.path.glob(f"{pattern}/metrics.json")):
        with suppress(Unreadable):  # said when the comparison goes on
            found.append(RunFiles(file.parent).whole_metrics)
    return found


def _aucs(folder: Folder, entrants: Sequence[Entrant]) -> Iterator[list[float]]:
    """AUCs of the seeds of each final config: of test, where it was read."""
    for entrant in entrants:
        by_config: dict[str, list[float]] = {}
        for record in _metrics(folder, entrant, "runs"):
            auc = record.get("test", record["valid"]).get("AUC")
            if auc is not None:  # a test split of one class has none
                by_config.setdefault(record["config_digest"], []).append(auc)
        yield from by_config.values()


# Measuring


@dataclass(frozen=True)
class Stopwatch:
    """Times what was not timed yet, one after another; the timings are kept in the folder.

    Attributes:
        key: names what timings hang on: the device, threads.
        log: gets a line before that.
    """

    folder: Folder
    data: SweepData
    make_pool: Callable[[int | None], Pool]
    key: str
    zoo: Path | None = None
    log: Callable[[str], None] = lambda line: None

    def rates(self, entrants: Sequence[Entrant], fingerprint: str, trials: int) -> dict[str, Rate]:
        """What each entrant costs, by label.

        Args:
            trials: of each entrant that is no recipe; 0 times the config as it stands.

        Raises:
            RunError: one could not be timed.
        """
        points = {entrant.label: self._points(entrant, trials) for entrant in entrants}
        timings = self._all_timings([trial for some in points.values() for trial in some], fingerprint)
        return {
            entrant.label: _rate(
                entrant,
                {trial.digest: timings[self._name(trial, fingerprint)] for trial in points[entrant.label]},
                self.folder,
            )
            for entrant in entrants
        }

    def _points(self, entrant: Entrant, trials: int) -> list[Trial]:
        """Settings that stand for all that are left: once every trial is done, the best one."""
        if entrant.recipe or not trials:
            return [entrant.base]
        space = Points(entrant.tuner, trials, self.zoo)
        found = space.trials(range(space.size))
        best = _best(entrant, self.folder, len(found))
        return [trial for trial in found if trial.digest == best] or found[:MEASURED]

    def _name(self, trial: Trial, fingerprint: str) -> str:
        return f"{trial.experiment.model} {trial.digest} {fingerprint} {self.key}"

    def _all_timings(self, trials: Sequence[Trial], fingerprint: str) -> dict[str, Any]:
        timings = self.folder.timings
        names = {self._name(trial, fingerprint): trial for trial in trials}
        jobs = {self._job(trial, fingerprint): name for name, trial in names.items() if name not in timings}
        if not jobs:
            return timings
        self.log(f"timing {len(jobs)} settings, a few seconds each")
        left = iter(jobs)

        def note(event: Event) -> None:
            if isinstance(event, Ended):
                trial, found = names[jobs[event.job]], event.outcome.metrics
                if found is None:
                    raise RunError(f"timing {trial.experiment.expid} ({trial.label}): {event.outcome.reason}")
                timings[jobs[event.job]] = found
                seconds = found["train"] + found["evaluate"]
                self.log(f"  {seconds:.1f} s an epoch: {trial.experiment.expid}, {trial.label}")

        with self.make_pool(1) as pool:
            do_jobs(pool, lambda: next(left, None), note)
        self.folder.write_timings(timings)
        return timings

    def _job(self, trial: Trial, fingerprint: str) -> Job:
        return Job(
            trial.experiment,
            trial.seed,
            self.data.places(trial),
            self.folder.runs,
            zoo=self.zoo,
            data_fingerprint=fingerprint,
            work=time_epoch,
        )


def _best(entrant: Entrant, folder: Folder, trials: int) -> str | None:
    """Digest of the config that the final runs will have; None while trials are left, or where one failed."""
    done, fit = _metrics(folder, entrant, "tune"), entrant.base.experiment.fit
    if len(done) < trials:
        return None
    choose = max if fit.monitor_mode == "max" else min
    return choose(done, key=lambda record: monitored(record["valid"], fit))["config_digest"]


def _rate(entrant: Entrant, timings: dict[str, dict[str, Any]], folder: Folder) -> Rate:
    """From timings by digest; where one setting stands for all, the epochs of its own runs count."""
    cap = entrant.base.experiment.fit.epochs
    records = [record for part in ("tune", "runs") for record in _metrics(folder, entrant, part)]
    own = [record for record in records if list(timings) == [record["config_digest"]]]
    done = [_epochs(record) for record in own or records]
    guess = min(cap, max(LEAST_EPOCHS, round(EPOCH_SHARE * cap)))
    return Rate(
        entrant.label,
        entrant.recipe,
        statistics.fmean(timing["train"] for timing in timings.values()),
        statistics.fmean(timing["evaluate"] for timing in timings.values()),
        cap,
        statistics.fmean(done) if done else guess,
        bool(done),
    )


def _epochs(record: dict[str, Any]) -> float:
    return epochs_trained(record["epochs"], record.get("steps"), record.get("steps_per_epoch"))
