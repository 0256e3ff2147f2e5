"""Looks for run folders: what is complete and untouched is read, about the rest there is a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.agreement import contradictions, experiment_in, wrong_keys
from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.runs.names import RunName
from fuxictr_qnn.runs.run import FailedRun, Record, Run
from fuxictr_qnn.training.metrics import auc, logloss

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
            if (failure := _read_failure(RunFiles(folder))) is not None:
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
        named = RunName.of(Path(folder)).seed is not None and {"config.yaml", "failed.json"} & set(files)
        if "metrics.json" in files or named:
            below.clear()
            yield Path(folder)


def read_run(folder: Path) -> Run | str:
    """The run in a folder, or a sentence that says why there is none to count on."""
    files = RunFiles(folder)
    if not files.is_complete:
        return f"'{folder}' {_why_unfinished(files)}"
    try:
        config, history, metrics = files.config, files.whole_history, files.whole_metrics
        experiment = experiment_in(files, config)
        run = Run(folder, _record(files, metrics), experiment.model_dump(mode="json"), history)
        signs = [*contradictions(files, config, experiment, metrics), *_other_scores(run)]
    except Unreadable as error:
        return f"'{folder}' is left out: {error.brief}"
    if signs:
        return f"'{folder}' is left out, it was edited by hand: {'; '.join(signs)}"
    if experiment.digest != (made_with := run.record.config_digest):
        return (
            f"'{folder}' is left out: config.yaml has the hash {experiment.digest}, the run {made_with}; "
            "either it was edited by hand, or another version of this package made the run"
        )
    return run


def _record(files: RunFiles, metrics: dict[str, Any]) -> Record:
    try:
        return Record.model_validate(metrics)
    except ValidationError as error:
        what = f"is not as a run writes it ({wrong_keys(error)} missing or of another kind)"
        raise Unreadable(files.path / "metrics.json", what) from error


def _why_unfinished(files: RunFiles) -> str:
    """A final run or a trial of a sweep may have ended for good."""
    with suppress(Unreadable):
        if (reason := files.failure) is not None:
            return f"has no result, the run failed: {reason}"
    with suppress(Unreadable):
        said = files.trial or {}
        if (ended := ENDED.get(str(said.get("state")))) and "reason" in said:
            return f"has no result, the trial {ended}: {said['reason']}"
    return "is incomplete (no metrics.json): --resume on the command that began it ends it"


def _read_failure(files: RunFiles) -> FailedRun | None:
    """The final run in a folder without metrics.json, where it failed for good."""
    name, fingerprint = RunName.of(files.path), None
    if files.is_complete or None in name:  # left out for another reason, or nobody knows what it was to be
        return None
    with suppress(Unreadable):
        fingerprint = files.config.get("data_fingerprint")
    with suppress(Unreadable):
        if (reason := files.failure) is not None:
            return FailedRun(name.expid, name.digest, fingerprint, name.seed, reason)
    return None


def _other_scores(run: Run) -> Iterator[str]:
    """Test metrics that are not those of the test scores."""
    names = [name for name in RECOMPUTED if name in run.record.test]
    scores = run.scores() if names else None
    for name in names if scores is not None else ():
        found = RECOMPUTED[name](scores.y_true, scores.y_pred)
        if not abs(found - run.record.test[name]) <= TOLERANCE:
            yield f"test {name} is {run.record.test[name]:.6f} in metrics.json, {found:.6f} by its scores"
