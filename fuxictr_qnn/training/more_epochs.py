"""A complete run that goes on: the run that differs in its number of epochs only.

The number of epochs is part of what names a run folder, so a run with more of them has a folder of its own;
the shorter run stays as it is. What goes on is its last checkpoint, so that the longer run ends as if it had
been begun with that number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import link_or_copy, write_bytes
from fuxictr_qnn.runs.agreement import experiment_in
from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.run_folder import read_checkpoint
from fuxictr_qnn.training.tensor_file import check_by_name, read_plain

logger = logging.getLogger("fuxictr_qnn")

_NEEDED = ("history.jsonl", "model.pt", "checkpoint.pt")  # the checkpoint last: with it a run can be resumed
_REMEDY = "put back the file of that run to go on from it"


@dataclass(frozen=True)
class Shorter:
    """A complete run of fewer epochs.

    Attributes:
        metrics: the contents of its metrics.json.
        buffer_bytes: as in its config.yaml.
    """

    folder: Path
    epochs: int
    metrics: dict[str, Any]
    buffer_bytes: int | None


def find_shorter(experiment: Experiment, seed: int, out: Path, data_fingerprint: str) -> Shorter | None:
    """The longest complete run of fewer epochs, all else equal, that kept what it needs to go on.

    One that stopped by itself has no checkpoint: more epochs would change nothing. Lines in the log say so,
    and what is wrong with files that are damaged.
    """
    found = sorted(_candidates(experiment, seed, out, data_fingerprint), key=lambda run: -run.epochs)
    kept = [run for run in found if all((run.folder / name).exists() for name in _NEEDED)]
    for run in kept:
        if (fault := _fault(run.folder)) is None:
            logger.info("goes on after the %d epochs of %s", run.epochs, run.folder)
            return run
        logger.warning("--resume: %s cannot go on: %s", run.folder, fault)
    if found and not kept:
        logger.warning(
            "--resume: %s cannot go on: it stopped by itself before its last epoch, or its %s is gone",
            found[0].folder,
            " or ".join(_NEEDED),
        )
    if found:
        logger.warning("--resume: %d epochs begin anew", experiment.fit.epochs)
    return None


def copy_state(run: Shorter, folder: Path) -> None:
    """Put history, best weights and, last of all, the checkpoint of the shorter run into a folder."""
    history, *weights = _NEEDED
    write_bytes(folder / history, (run.folder / history).read_bytes())
    for name in weights:
        link_or_copy(run.folder / name, folder / name)


def _fault(folder: Path) -> str | None:
    """Why a run cannot go on, which has to be known before anything of it is copied; None if it can."""
    _, weights, checkpoint = (folder / name for name in _NEEDED)
    try:
        read_checkpoint(checkpoint, _REMEDY)
        check_by_name(read_plain(weights, _REMEDY), weights, _REMEDY)
        _ = RunFiles(folder, _REMEDY).whole_history
    except RequestError as error:
        return str(error)
    return None


def _candidates(experiment: Experiment, seed: int, out: Path, data_fingerprint: str) -> Iterator[Shorter]:
    for file in out.glob(f"{experiment.expid}-*/seed{seed}/metrics.json"):
        files = RunFiles(file.parent)
        try:
            config, metrics = files.config, files.whole_metrics
            other = experiment_in(files, config)
        except Unreadable:  # another version's, or half removed
            continue
        as_long = other.fit.model_copy(update={"epochs": experiment.fit.epochs})
        same = other.model_copy(update={"fit": as_long}).digest == experiment.digest
        if (
            same
            and other.fit.epochs < experiment.fit.epochs
            and config.get("data_fingerprint") == data_fingerprint
        ):
            yield Shorter(file.parent, other.fit.epochs, metrics, config.get("buffer_bytes"))
