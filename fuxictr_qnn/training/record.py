"""The record of a complete run: metrics.json."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data import BuiltDataset
from fuxictr_qnn.training.device import device_name, peak_memory_mb
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.fit import Position
from fuxictr_qnn.training.setup import count_parameters

_PACKAGES = ("fuxictr-qnn", "fuxictr", "torch", "numpy", "polars")


def run_record(
    experiment: Experiment,
    seed: int,
    model: BaseModel,
    built: BuiltDataset,
    position: Position,
    steps_per_epoch: int,
    rows_per_epoch: int,
    metrics: dict[str, dict[str, float]],
    buffer_bytes: int | None,
    workers: int,
) -> dict[str, Any]:
    """Everything that metrics.json holds.

    Args:
        position: where training ended.
        metrics: by split.
        buffer_bytes: of rows shuffled together where the data was streamed; None: it was in memory.
        workers: how many trained it; memory and device are those of the first.
    """
    seconds = {
        "build": round(built.seconds, 3),
        "train": round(position.train_seconds, 3),
        "evaluate": round(position.evaluate_seconds, 3),
    }
    epochs = position.epoch + 1 if position.batch else position.epoch
    rows = rows_per_epoch * position.step / steps_per_epoch
    return {
        "expid": experiment.expid,
        "model": experiment.model,
        "model_class": f"{type(model).__module__}:{type(model).__name__}",
        "dataset_id": experiment.dataset.dataset_id,
        "seed": seed,
        **metrics,
        "parameters": count_parameters(model),
        "parameters_without_embeddings": count_parameters(model, embeddings=False),
        "epochs": epochs,
        "best_epoch": position.best_epoch,
        "steps": position.step,  # `epochs` counts one that was only begun, too
        "steps_per_epoch": steps_per_epoch,
        "seconds": seconds,
        "rows_per_second": round(rows / position.train_seconds) if position.train_seconds else None,
        "peak_memory_mb": round(peak_memory_mb(model.device), 1),
        "device": device_name(model.device),
        "workers": workers,
        "buffer_bytes": buffer_bytes,
        "versions": versions(),
        "git_revision": git_revision(),
        "data_fingerprint": built.fingerprint,
        "config_digest": experiment.digest,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from the repository root
            continue
    return found


def git_revision() -> str | None:
    """The commit of this package's checkout, with a plus sign for uncommitted changes."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a wheel inside a checkout is not of it
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
