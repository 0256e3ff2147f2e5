"""The phases of a comparison, each from what lies in its folder: tune, final runs, choice, test, latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fuxictr_qnn.comparing.entrants import Entrant, without_recipes
from fuxictr_qnn.comparing.final import Config, Final
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.measuring import LATENCY
from fuxictr_qnn.comparing.rows import choice_of
from fuxictr_qnn.comparing.runner import Runner
from fuxictr_qnn.comparing.terms import OTHER_NAME, Terms
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.jobs import Event, Pool
from fuxictr_qnn.runs.files import RunFiles
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.session import do_sweeps, open_sweep
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.sweep import Row, Sweep

PHASES = ("tune", "train", "test", "latency")


class Watch(Protocol):
    """Whoever looks on."""

    def begin(self, phase: str, count: int) -> None:
        """A phase of PHASES begins, with so many runs to do."""

    def event(self, label: str, what: str, event: Event) -> None:
        """Something happened to a run: of which row, and which trial or seed of it."""


@dataclass(eq=False)
class Comparison:
    """A comparison in its folder, which is locked.

    Attributes:
        spaces: label -> what its trials are taken from.
        make_pool: workers; with a number, so many.
        sweeps: by label, while trials are done.
        configs: what each entrant is trained with in the end, known after `tune`.
        lost: a sentence about each entrant of which no trial succeeded.
    """

    entrants: Sequence[Entrant]
    terms: Terms
    spaces: dict[str, Space]
    folder: Folder
    data: SweepData
    make_pool: Callable[[int | None], Pool]
    watch: Watch
    zoo: Path | None = None
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    configs: list[Config] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> None:
        """Do what is left of all phases.

        Raises:
            RequestError: files in the folder were edited. RunError: workers are lost, or were killed.
        """
        self.tune()
        self.train(self.finals())
        chosen = self.choose()
        self.train(self.finals(chosen))
        finals = self.finals(chosen)
        self.score(finals)
        self.measure(finals)
        with suppress(OSError):  # not empty: somebody may want to read why
            self.folder.log().parent.rmdir()

    # Trials

    def tune(self) -> None:
        """The trials of every model; afterwards each has its config."""
        ranked = without_recipes(self.entrants)
        if self.terms.trials:
            with ExitStack() as stack:
                for entrant in ranked:
                    self.sweeps[entrant.label] = stack.enter_context(self._sweep(entrant))
                self.watch.begin("tune", sum(sweep.to_do for sweep in self.sweeps.values()))
                do_sweeps(list(self.sweeps.values()), lambda: self.make_pool(None), self._on_trial)
        for entrant in self.entrants:
            sweep = self.sweeps.get(entrant.label)
            if sweep is None:
                self.configs.append(Config(entrant, entrant.base))
            else:
                self._take_best(entrant, sweep)

    def _sweep(self, entrant: Entrant) -> Any:
        terms = self.terms
        options = Options(retry_killed=True, keep=1)
        if terms.search == "tpe":
            options = Options("tpe", terms.trials, retry_killed=True, keep=1)
        return open_sweep(self.spaces[entrant.label], self.folder.sweep(entrant.expid), self.data, options)

    def _on_trial(self, sweep: Sweep, row: Row, event: Event) -> None:
        self.watch.event(sweep.space.tuner.expid, row.trial.label, event)

    def _take_best(self, entrant: Entrant, sweep: Sweep) -> None:
        killed = [row for row in sweep.all_rows if row.standing.killed]
        if killed:
            reasons = dict.fromkeys(row.standing.reason for row in killed)
            raise RunError(
                f"{len(killed)} trials of {entrant.label} were killed ({'; '.join(reasons)}): the same "
                "command goes on with them"
            )
        best = sweep.best
        if best is None:
            reasons = dict.fromkeys(row.standing.reason for row in sweep.all_rows)
            self.lost.append(f"{entrant.label} has no row, all its trials failed: {'; '.join(reasons)}")
            return
        self.configs.append(Config(entrant, best.trial))
        self.facts[entrant.label] = {
            "trials": len(sweep.all_rows),
            "trials_failed": sweep.count("failed"),
            "settings": dict(best.trial.values),
            "valid_in_tuning": best.standing.value,
        }

    # Final runs

    def finals(self, chosen: dict[str, Any] | None = None) -> list[Final]:
        """Every final run, done or not; with what was chosen, the additional seeds, too."""
        terms, found = self.terms, []
        more = {chosen["comparator"], chosen["proposed"]} if chosen else set()
        for config in self.configs:
            last = terms.recipe_seeds if config.entrant.recipe else terms.seeds
            if config.label in more:
                last = terms.last_seed
            found += [
                Final(config, seed, self.folder.runs, terms.data_fingerprint) for seed in range(1, last + 1)
            ]
        return found

    @property
    def _runner(self) -> Runner:
        return Runner(self.folder, self.data, self.make_pool, self._on_final, self.zoo)

    def _on_final(self, final: Final, event: Event) -> None:
        self.watch.event(final.config.label, f"seed {final.seed}", event)

    def train(self, finals: Sequence[Final]) -> None:
        """Train what is not settled, the test split unread.

        Raises:
            RequestError: the test split of one of them was scored already, by a run that is gone.
        """
        todo = [final for final in _once(finals) if not final.is_settled]
        self._refuse_scored(todo)
        self.watch.begin("train", len(todo))
        self._runner.train(todo)

    @property
    def has_read_test(self) -> bool:
        return has_read_test(self.folder)

    def choose(self) -> dict[str, Any]:
        """What was fixed; it is fixed now if no test split was read yet.

        Raises:
            RequestError: trials now say otherwise than when test was read, or chosen.yaml is gone.
        """
        chosen = self.folder.chosen
        if self.has_read_test and chosen is None:
            raise RequestError(
                f"'{self.folder.path}': chosen.yaml is gone, which says what was fixed before the test split "
                f"was read: put it back, or {OTHER_NAME}"
            )
        if not self.has_read_test:
            chosen = choice_of(self.finals(), self.facts, self.lost)
            self.folder.write_chosen(chosen)
            return chosen
        problems = [
            f"'{self.folder.path}': chosen.yaml says {said['config_digest']} for {config.label}, and its "
            f"trials say {config.trial.digest} now that the test split was read: it was changed by hand"
            for config in self.configs
            if (said := chosen["configs"].get(config.label)) and said["config_digest"] != config.trial.digest
        ]
        if problems:
            raise RequestError(problems)
        return chosen

    def _refuse_scored(self, unread: Sequence[Final]) -> None:
        """Nothing is scored twice, whoever took the first scores away."""
        when = {tuple(line[key] for key in Final.NAME): line.get("when") for line in self.folder.scorings}
        problems = [
            f"'{final.path}': its test split was scored ({when[key]}, test_log.jsonl), and the run is not "
            f"there as it was: put its folder back, or {OTHER_NAME}"
            for final in unread
            if (key := tuple(final.name.values())) in when
        ]
        if problems:
            raise RequestError(problems)

    def score(self, finals: Sequence[Final]) -> None:
        """Score each test split once.

        Raises:
            RequestError: weights that are to score are gone.
        """
        finals = _once(finals)
        names = [{key: line[key] for key in Final.NAME} for line in self.folder.scorings]
        for final in finals:
            if final.is_scored and final.name not in names:  # a kill came between the scores and their line
                self.folder.log_scoring(final.name)
        todo = [final for final in finals if final.is_unread]
        self._refuse_scored(todo)
        if problems := [problem for final in todo if (problem := final.lacks_weights)]:
            raise RequestError(problems)
        self.watch.begin("test", len(todo))
        self._runner.score(todo)

    def measure(self, finals: Sequence[Final]) -> None:
        """The latency of each config with its first complete seed."""
        first: dict[Config, Final] = {}
        for final in finals:
            if final.metrics is not None:
                first.setdefault(final.config, final)
        todo = [final for final in _once(first.values()) if LATENCY not in final.metrics]
        self.watch.begin("latency", len(todo))
        self._runner.measure(todo)


def _once(finals: Iterable[Final]) -> list[Final]:
    """Each run once: a recipe may be the very config that trials chose."""
    return list({final.path: final for final in finals}.values())


def has_read_test(folder: Folder) -> bool:
    """Whether any test split was scored, or may have been: a kill can leave the scores alone.

    Raises:
        RequestError: a metrics.json that does not tell.
    """
    if folder.scorings or any(folder.runs.glob("*/seed*/test_scores.parquet")):
        return True
    remedy = "put it back as it was, or remove its folder"
    found = (RunFiles(file.parent, remedy) for file in folder.runs.glob("*/seed*/metrics.json"))
    return any("test" in files.whole_metrics for files in found)
