"""Looks for run folders: what is complete and untouched is read, about the rest there is a sentence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from fuxictr_qnn.config.loading import read_yaml
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.runs import FailedRun, Record, Run
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.metrics import auc, logloss

SEED_FOLDER = re.compile(r"seed(\d+)")
RECOMPUTED = {"AUC": auc, "logloss": logloss}  # from test_scores.parquet
TOLERANCE = 1e-6  # of a metric that was computed twice
ENDED = {"pruned": "was stopped early", "failed": "failed"}  # state in trial.json -> what is said of it


@dataclass(frozen=True)
class FoundRuns:
    """Complete runs by expid, config and seed, and what is to be said of the other folders.

    Attributes:
        left_out: a sentence about each folder that was left out, and one about all trials.
        failed: those among them that will never have a result.
    """

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)


def find_runs(places: Sequence[Path]) -> FoundRuns:
    """All runs in and below the folders given.

    A folder that is named twice counts once. Of two runs of the same config on the same data with the same
    seed the first counts. Trials of a sweep are left out where there are complete runs beside them: they
    chose the settings, and the seed they were tuned with is no seed of the result.

    Raises:
        RequestError: a folder does not exist, or there is no complete run at all.
    """
    problems = [f"'{place}' is no folder: name one that holds run folders" for place in places]
    problems = [text for text, place in zip(problems, places, strict=True) if not place.is_dir()]
    if problems:
        raise RequestError(problems)
    folders = dict.fromkeys(folder.resolve() for place in places for folder in _run_folders(place))
    finals = [folder for folder in folders if not (folder / "trial.json").exists()]
    found, trials = _read_all(finals), len(folders) - len(finals)
    if not found.runs:
        found = _read_all(folders)
    elif trials:
        found.left_out.append(_about_trials(trials))
    if not found.runs:
        where = ", ".join(f"'{place}'" for place in places)
        raise RequestError([f"no complete run in {where}; `fuxictr run` makes one", *found.left_out])
    found.runs.sort(key=lambda run: (run.record.expid, run.record.config_digest, *run.data, run.seed))
    return found


def _about_trials(count: int) -> str:
    return (
        f"{count} trial{'s' * (count > 1)} of sweeps, there to choose settings and no part of the results; "
        "`fuxictr report` on folders of trials alone shows them"
    )


def _read_all(folders: Iterable[Path]) -> FoundRuns:
    """What is in these run folders, in their order."""
    found = FoundRuns()
    taken: dict[tuple, Path] = {}
    for folder in folders:
        run = read_run(folder)
        if isinstance(run, str):
            found.left_out.append(run)
            if (failure := _read_failure(folder)) is not None:
                found.failed.append(failure)
            continue
        key = run.record.expid, run.record.config_digest, run.record.data_fingerprint, run.seed
        if key in taken:
            found.left_out.append(f"'{folder}' repeats the run in '{taken[key]}'")
        else:
            taken[key] = folder
            found.runs.append(run)
    return found


def _run_folders(place: Path) -> Iterator[Path]:
    """Folders at or below `place` that a run wrote, in the order of their names."""
    seen = set()
    for folder, below, files in os.walk(place, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # a link that leads back
            below.clear()
            continue
        seen.add(real)
        below.sort()
        named = SEED_FOLDER.fullmatch(Path(folder).name) and {"config.yaml", "failed.json"} & set(files)
        if "metrics.json" in files or named:
            below.clear()
            yield Path(folder)


def read_run(folder: Path) -> Run | str:
    """The run in a folder, or a sentence that says why there is none to count on."""
    if not (folder / "metrics.json").exists():
        return f"'{folder}' {_why_unfinished(folder)}"
    try:
        config = _read_config(folder / "config.yaml")
        history = _read_history(folder / "history.jsonl")
        experiment = _experiment_of(config)
        run = Run(folder, _read_record(folder / "metrics.json"), experiment.model_dump(mode="json"), history)
    except _Unreadable as error:
        return f"'{folder}' is left out: {error}"
    if signs := list(_signs_of_editing(run, config)):
        return f"'{folder}' is left out, it was edited by hand: {'; '.join(signs)}"
    if experiment.digest != (made_with := run.record.config_digest):
        return (
            f"'{folder}' is left out: config.yaml has the hash {experiment.digest}, the run {made_with}; "
            "either it was edited by hand, or another version of this package made the run"
        )
    return run


def _why_unfinished(folder: Path) -> str:
    """A final run or a trial of a sweep may have ended for good."""
    if (failure := _read_failure(folder)) is not None:
        return f"has no result, the run failed: {failure.reason}"
    try:
        said = json.loads((folder / "trial.json").read_text())
        if said["state"] in ENDED:
            return f"has no result, the trial {ENDED[said['state']]}: {said['reason']}"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return "is incomplete (no metrics.json): --resume on the command that began it ends it"


def _read_failure(folder: Path) -> FailedRun | None:
    """The final run in a folder without metrics.json, where it failed for good."""
    try:
        reason = str(json.loads((folder / "failed.json").read_text())["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if (folder / "metrics.json").exists():  # left out for another reason
        return None
    expid, _, digest = folder.parent.name.rpartition("-")
    try:
        fingerprint = _read_config(folder / "config.yaml").get("data_fingerprint")
    except _Unreadable:
        fingerprint = None
    return FailedRun(expid, digest, fingerprint, int(SEED_FOLDER.fullmatch(folder.name)[1]), reason)


class _Unreadable(Exception):
    """What is wrong with a file, as the end of a sentence."""


def _read_record(file: Path) -> Record:
    try:
        return Record.model_validate_json(file.read_bytes())
    except ValidationError as error:
        keys = sorted({".".join(str(part) for part in problem["loc"]) for problem in error.errors()})
        what = f"{', '.join(keys)} missing or of another kind" if any(keys) else "no JSON"
        raise _Unreadable(f"metrics.json is not as a run writes it ({what})") from error


def _read_config(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise _Unreadable("config.yaml is missing")
    try:
        config = read_yaml(file)
    except RequestError as error:
        raise _Unreadable(f"config.yaml cannot be read ({error.problems[0]})") from error
    if not isinstance(config, dict) or not isinstance(config.get("experiment"), dict):
        raise _Unreadable("config.yaml is not as a run writes it (no experiment)")
    return config


def _experiment_of(config: dict[str, Any]) -> Experiment:
    """The resolved config; keys that came later have their defaults."""
    try:
        return Experiment.model_validate(config["experiment"])
    except ValidationError as error:
        keys = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        what = f"{', '.join(keys)} missing, unknown or of another kind"
        raise _Unreadable(f"config.yaml is not as this version of the package writes it ({what})") from error


def _read_history(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        raise _Unreadable("history.jsonl is missing")
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError as error:
        raise _Unreadable(f"history.jsonl cannot be read ({error})") from error


def _signs_of_editing(run: Run, config: dict[str, Any]) -> Iterator[str]:
    """What a run folder says in two places must agree."""
    record = run.record
    in_config = {
        "expid": run.experiment["expid"],
        "model": run.experiment["model"],
        "dataset_id": run.experiment["dataset"]["dataset_id"],
        "seed": config.get("seed"),
        "data_fingerprint": config.get("data_fingerprint"),
    }
    for key, value in in_config.items():
        if value is not None and value != getattr(record, key):  # None: written by an early version
            yield f"{key} is {getattr(record, key)} in metrics.json and {value} in config.yaml"
    named = SEED_FOLDER.fullmatch(run.folder.name)
    if named and int(named[1]) != record.seed:
        yield f"seed is {record.seed} in metrics.json"
    if named and not run.folder.parent.name.endswith(record.config_digest):
        yield f"config_digest is {record.config_digest} in metrics.json"
    yield from _other_scores(run)


def _other_scores(run: Run) -> Iterator[str]:
    """Test metrics that are not those of the test scores."""
    names = [name for name in RECOMPUTED if name in run.record.test]
    if not names:
        return
    try:
        scores = run.scores()
    except (OSError, pl.exceptions.PolarsError) as error:
        yield f"test_scores.parquet cannot be read ({type(error).__name__})"
        return
    for name in names if scores is not None else ():
        found = RECOMPUTED[name](scores.labels, scores.predictions)
        if not abs(found - run.record.test[name]) <= TOLERANCE:
            yield f"test {name} is {run.record.test[name]:.6f} in metrics.json, {found:.6f} by its scores"
