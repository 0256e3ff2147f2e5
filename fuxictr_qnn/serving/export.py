"""`fuxictr export --to`: a run as an ONNX file that was checked, and its description beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data.places import Places
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.files import hash_of, new_folder, sync_file, sync_folder
from fuxictr_qnn.runs.saved import SavedRun
from fuxictr_qnn.serving import description, onnx
from fuxictr_qnn.serving.fields import columns_of
from fuxictr_qnn.serving.graph import Served
from fuxictr_qnn.serving.trial_rows import TrialRows, trial_rows
from fuxictr_qnn.training.calibration import corrected
from fuxictr_qnn.training.record import versions

TOLERANCE = 1e-5
BATCHES = (1, 2, 7)  # rows that are scored together in the check, besides all
EXAMPLE_ROWS = 3


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        files: the ONNX file and the JSON file.
        rows: how many it was checked on, and `origin` where these are from.
        difference: the largest one between the scores of onnxruntime and of the model.
        notes: sentences that the user should read.
    """

    files: tuple[Path, Path]
    rows: int
    origin: str
    difference: float
    notes: list[str]


def export_onnx(run: SavedRun, to: Path, places: Places, zoo: Path | None = None) -> Exported:
    """Write `to` and the JSON file of its name; what is there is replaced once all is well.

    Args:
        places: where the run's build, with real rows for the check, is looked for.
        zoo: the FuxiCTR checkout that the run's model is from.

    Raises:
        RequestError: a run that cannot be used, a model that ONNX has no operators for.
        RunError: onnxruntime and the model disagree, or the disk failed; nothing is left then.
    """
    onnx.require_onnx()
    model = run.model(-1, zoo)
    rate = run.dataset.negative_sampling_rate
    served = Served(model, rate)
    raw = description.RawValues(run, served.fields)
    trial = trial_rows(run, model.feature_map, served.fields, places)
    expected = corrected(_scores(model, served, trial.matrices), rate)
    with _published(to, to.with_suffix(".json")) as (file, text):
        onnx.write_onnx(served, file, _facts(run))
        scores, difference = check(file, trial.matrices, expected)
        content = {
            "format": description.FORMAT,
            "model": {"file": to.name, "sha256": hash_of(file), "bytes": file.stat().st_size},
            "run": _facts(run) | {"metrics": run.metrics.get("test")},
            "versions": versions() | onnx.versions(),
            "inputs": description.describe_inputs(served.fields),
            "output": {"name": onnx.OUTPUT, "dtype": "float32", "shape": ["rows"]},
            "negative_sampling_rate": rate,
            "check": {"rows": len(scores), "origin": trial.origin, "largest_difference": difference},
            "example": _example(raw, served, trial, scores),
            "features": description.describe_features(model.feature_map, served.fields, raw),
            "vocabularies": raw.tokens(),
        }
        text.write_text(description.as_text(content), encoding="utf-8")
    files = (to, to.with_suffix(".json"))
    return Exported(files, len(scores), trial.origin, difference, list(_notes(run, trial, raw)))


def check(file: Path, matrices: dict[str, np.ndarray], expected: np.ndarray) -> tuple[np.ndarray, float]:
    """What onnxruntime predicts, (rows,), and how far off it is at most; rows alone and together.

    Raises:
        RunError: more than TOLERANCE (of predictions above 1: of their size), or no numbers at all.
    """
    session = onnx.session(file)
    scores = onnx.run(session, matrices)
    worst = _difference(scores, expected)
    for size in BATCHES:
        few = {name: matrix[:size] for name, matrix in matrices.items()}
        worst = max(worst, _difference(onnx.run(session, few), expected[:size]), key=_badness)
    if not worst <= TOLERANCE:
        raise RunError(
            f"the exported file disagrees with the model: its predictions are off by up to {worst:.3g} on "
            f"{len(expected):,} rows, where {TOLERANCE:g} is allowed; it was removed"
        )
    return scores, worst


def _difference(scores: np.ndarray, expected: np.ndarray) -> float:
    if scores.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(scores - expected) / np.maximum(np.abs(expected), 1)))


def _badness(difference: float) -> float:
    return difference if np.isfinite(difference) else float("inf")


@torch.no_grad()
def _scores(model: BaseModel, served: Served, matrices: dict[str, np.ndarray]) -> np.ndarray:
    """The predictions of the model itself, by its own forward pass in float32: (rows,) float64."""
    tensors = {name: torch.from_numpy(matrix) for name, matrix in matrices.items()}
    batch = columns_of(tensors, served.fields)
    if type(model).predict is not BaseModel.predict:
        return np.asarray(model.predict([batch]), np.float64).reshape(-1)
    return model.eval()(batch)["y_pred"].view(-1).double().numpy()


def _facts(run: SavedRun) -> dict[str, Any]:
    """Which run it is."""
    return {
        "expid": run.experiment.expid,
        "model": run.experiment.model,
        "dataset_id": run.dataset.dataset_id,
        "task": run.experiment.fit.task,
        "seed": str(run.seed),
        "config_digest": run.experiment.digest,
        "data_fingerprint": str(run.metrics.get("data_fingerprint")),
    }


def _example(
    raw: description.RawValues, served: Served, trial: TrialRows, scores: np.ndarray
) -> dict[str, Any]:
    """A few rows as the model takes them, as raw values where those are known, and their scores."""
    matrices = {name: matrix[:EXAMPLE_ROWS] for name, matrix in trial.matrices.items()}
    example = {name: matrix.tolist() for name, matrix in matrices.items()}
    rows = raw.rows(matrices, served.fields)
    return ({"rows": rows} if rows else {}) | example | {onnx.OUTPUT: scores[:EXAMPLE_ROWS].tolist()}


def _notes(run: SavedRun, trial: TrialRows, raw: description.RawValues) -> Iterator[str]:
    if not trial.real:
        yield (
            "the rows of the check were made up: the build of this run's data was not found; --data-root and "
            "--build-dir say where"
        )
    if not run.takes_raw_values:
        yield "the run knows ids only, no raw values: the JSON file has no vocabularies"
    own = [name for name, column in raw.columns.items() if column.preprocess]
    if own:
        yield (
            f"{', '.join(own)}: made by preprocess functions, which are no part of the file: the client has "
            "to apply them before its vocabularies"
        )
    if run.experiment.fit.amp:
        yield f"the run was trained in {run.experiment.fit.amp}; the file computes in float32"


@contextmanager
def _published(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Files to write; when all is well they get their names, and after an error nothing is left of them.

    Raises:
        RunError: the disk failed or is full.
    """
    folder = targets[0].absolute().parent
    temporary = tuple(folder / f".{uuid4().hex}{target.suffix}" for target in targets)
    try:
        with new_folder(folder):
            try:
                yield temporary
                for file in temporary:
                    sync_file(file)
                for file, target in zip(temporary, targets, strict=True):
                    os.replace(file, target)
            finally:
                for file in temporary:
                    file.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise RunError(f"writing '{targets[0]}' failed: {error}") from error
