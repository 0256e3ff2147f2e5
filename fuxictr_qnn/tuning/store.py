"""The trials of a sweep on disk: how each one stands, whatever ended the process that did them.

<out>/<name of the tuner file>/
    data-<fingerprint>/<expid>-<hash>/seed<S>/    a run folder, and in it
        trial.json     the values of the axes; how it ended where it did not end well
    best.yaml          the best trial, ready for `fuxictr run --config`
    results.csv, results.md, plots/<key>.png
    logs/              what the processes of the trials printed
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import is_writable, lock_if_free, write_json
from fuxictr_qnn.models.registry import zoo_package
from fuxictr_qnn.runs.agreement import experiment_in
from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.tuning.space import Trial

State = Literal["new", "begun", "done", "pruned", "failed"]

_REMEDY = "no run leaves it so; remove the folder, and the trial is done again"
_OTHER_VERSION = "use the version that wrote it, or remove the folder, and the trial is done again"
_SAME = 1e-3  # two evaluations of the same weights differ by less (GPUs add in varying order)


@dataclass(frozen=True)
class Standing:
    """How a trial stands.

    Attributes:
        value: the monitored quantity: of the best weights where it is done, else the best so far; None: not
            evaluated yet.
        metrics: the contents of metrics.json.
        curve: the monitored quantity at each evaluation.
        reason: why it failed or was pruned.
        killed: it failed by a signal, and may go on where it was.
    """

    state: State
    value: float | None = None
    metrics: dict[str, Any] | None = None
    curve: list[float] = field(default_factory=list)
    reason: str = ""
    killed: bool = False


class TrialFolder:
    """The files of one trial; its run folder is written by training."""

    def __init__(self, root: Path, trial: Trial):
        self.path, self.trial = root / trial.name, trial
        self.files = RunFiles(self.path, _REMEDY)
        self.fingerprint = root.name.removeprefix("data-")  # of the data

    def standing(self) -> Standing:
        """How the trial stands.

        Raises:
            RequestError: files that no run leaves so.
        """
        fit = self.trial.experiment.fit
        curve = [monitored(record, fit) for record in self._history()]
        best = (max if fit.monitor_mode == "max" else min)(curve, default=None)
        if self.files.is_complete:
            metrics = self._complete()
            value = monitored(metrics["valid"], fit)
            self._compare(value, best)
            return Standing("done", value, metrics, curve)
        said = self.files.trial or {}
        if said.get("state") in ("failed", "pruned"):
            reason, killed = str(said.get("reason", "")), bool(said.get("killed"))
            return Standing(said["state"], best, curve=curve, reason=reason, killed=killed)
        return Standing("begun" if self.files.is_begun else "new", best, curve=curve)

    def begin(self) -> None:
        """Keep the values of the axes; whatever was said of an earlier attempt is void."""
        self._say({})

    def fail(self, reason: str, killed: bool) -> None:
        """Keep why the trial failed, and its weights only if it may go on from them."""
        self._say({"state": "failed", "reason": reason, "killed": killed})
        if not killed:
            self._drop("checkpoint.pt", "model.pt")

    def prune(self, reason: str) -> None:
        """Keep the history of a pruned trial; its weights are of no more use."""
        self._say({"state": "pruned", "reason": reason})
        self._drop("checkpoint.pt", "model.pt")

    def drop_weights(self) -> None:
        self._drop("model.pt")

    def _drop(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _say(self, how_it_ended: dict[str, Any]) -> None:
        write_json(self.path / "trial.json", {"values": self.trial.values, **how_it_ended})

    def _complete(self) -> dict[str, Any]:
        """The contents of metrics.json, if they and config.yaml are of this trial."""
        metrics, config = self.files.metrics, self.files.config
        try:
            digest = experiment_in(self.files, config).digest
        except Unreadable as error:
            raise Unreadable(error.file, error.what, _OTHER_VERSION) from None
        try:
            monitored(metrics["valid"], self.trial.experiment.fit)
            same = digest == metrics["config_digest"] and config["seed"] == metrics["seed"]
        except (KeyError, TypeError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else "cannot be read"
            raise self._edited(f"metrics.json or config.yaml {what}") from None
        if not same or digest != self.trial.digest or self.trial.seed != metrics["seed"]:
            raise self._edited("config.yaml, metrics.json and the folder's name are of different experiments")
        if {config.get("data_fingerprint"), metrics.get("data_fingerprint")} != {self.fingerprint}:
            raise self._edited("config.yaml and metrics.json are of other data than the folder's name says")
        if zoo_package(str(metrics.get("model_class"))) != self.trial.zoo_package:
            raise RequestError(
                f"'{self.path}' was done by another class of that name ({metrics['model_class']}): give the "
                "--zoo that it was done with, or name another --out"
            )
        return metrics

    def _compare(self, value: float, best: float | None) -> None:
        if best is None or abs(value - best) > _SAME * max(1.0, abs(best)):
            found = "is missing" if best is None else f"says {best:.6f}"
            raise self._edited(f"metrics.json says {value:.6f} where the best line of history.jsonl {found}")

    def _history(self) -> list[dict[str, Any]]:
        """The evaluations so far."""
        records = self.files.history
        try:
            for record in records:
                monitored(record, self.trial.experiment.fit)
        except (KeyError, TypeError):
            raise self._edited("history.jsonl lacks the quantity that the sweep compares") from None
        return records

    def _edited(self, what: str) -> RequestError:
        return RequestError(f"'{self.path}': {what}: {_REMEDY}")


def monitored(metrics: dict[str, Any], fit: FitSettings) -> float:
    """The quantity that trials are compared by.

    Raises:
        KeyError, TypeError: the metrics do not hold it.
    """
    return sum(metrics[name] * weight for name, weight in fit.monitor_weights.items())


class Store:
    """The folder of a sweep."""

    def __init__(self, folder: Path):
        self.folder = folder

    def check_writable(self) -> None:
        """RequestError unless the folder is, or can become, one that we may write to."""
        if not is_writable(self.folder.absolute()):
            raise RequestError(f"--out: '{self.folder}' cannot be written; name a folder that you own")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other sweeps out of the folder.

        Raises:
            RunError: another process holds it.
        """
        with lock_if_free(self.folder / ".lock") as held:
            if not held:
                raise RunError(
                    f"another process is at the sweep in '{self.folder}'; wait for it, or name another --out"
                )
            yield

    def root(self, fingerprint: str) -> Path:
        """Where the run folders on this data are."""
        return self.folder / f"data-{fingerprint}"

    def of(self, trial: Trial, fingerprint: str) -> TrialFolder:
        return TrialFolder(self.root(fingerprint), trial)

    def log(self, trial: Trial) -> Path:
        return self.folder / "logs" / f"{trial.name.replace('/', '-')}.txt"

    def tidy_logs(self) -> None:
        """Leave those that say something. Not while trials run."""
        folder = self.folder / "logs"
        for file in folder.glob("*.txt"):
            if not file.stat().st_size:
                file.unlink()
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()

    def kept(self) -> list[tuple[str, Path, dict[str, Any]]]:
        """Every trial here, of whatever space: the fingerprint of its data, its folder, its values."""
        found = []
        for file in sorted(self.folder.glob("data-*/*/seed*/trial.json")):
            with suppress(Unreadable):
                values = (RunFiles(file.parent).trial or {}).get("values")
                if isinstance(values, dict):
                    found.append((file.parents[2].name.removeprefix("data-"), file.parent, values))
        return found
