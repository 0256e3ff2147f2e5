"""A complete run, as reports see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fuxictr_qnn.runs.files import RunFiles
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.calibration import expected_calibration_error, predicted_over_observed
from fuxictr_qnn.training.settings import OF_THE_MACHINE


class Record(BaseModel):
    """metrics.json, as far as reports read it."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    expid: str
    model: str
    dataset_id: str
    seed: int
    valid: dict[str, float]
    test: dict[str, float] = {}
    parameters: int
    parameters_without_embeddings: int
    epochs: int
    best_epoch: int
    steps: int | None = None  # runs of early versions do not say
    steps_per_epoch: int | None = None
    seconds: dict[str, float]
    rows_per_second: float | None
    peak_memory_mb: float
    device: str
    data_fingerprint: str
    config_digest: str
    latency_ms_per_100_rows: float | None = None  # not every run measures it


@dataclass(frozen=True)
class FailedRun:
    """A run that ended without a result, for good.

    Attributes:
        data_fingerprint: None where it failed before its data was written down.
    """

    expid: str
    config_digest: str
    data_fingerprint: str | None
    seed: int
    reason: str

    def is_of(self, record: Record) -> bool:
        """Whether only the seed tells it from the run of this record."""
        data = self.data_fingerprint in (None, record.data_fingerprint)
        return data and (self.expid, self.config_digest) == (record.expid, record.config_digest)


@dataclass(frozen=True)
class Run:
    """A complete run.

    Attributes:
        folder: where it lies.
        record: its metrics.json.
        experiment: its config.yaml's experiment, with model_params, features, fit and dataset; but in
            model_params, what is not set has its default.
        history: a mapping an evaluation.
    """

    folder: Path
    record: Record
    experiment: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def seed(self) -> int:
        return self.record.seed

    @property
    def params(self) -> dict[str, Any]:
        """The model's settings."""
        return self.experiment["model_params"]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything about model, features and training that can differ between two runs on one dataset."""
        parts = (self.experiment[key] for key in ("fit", "features", "model_params"))
        own = {key: value for part in parts for key, value in part.items() if key not in OF_THE_MACHINE}
        return {"model": self.record.model, "init_from": self._start} | own

    @property
    def _start(self) -> str | None:
        """The last two names of the path to the weights it started from: of a run, its own and its seed."""
        start = self.experiment.get("init_from")
        return "/".join(Path(start["weights"]).parts[-2:]) if start else None

    @property
    def data(self) -> tuple[str, str]:
        """What two runs must share to be compared: dataset and fingerprint of the data."""
        return self.record.dataset_id, self.record.data_fingerprint

    @property
    def seconds_per_epoch(self) -> float | None:
        """Training time of a whole epoch, also where training ended inside one."""
        record = self.record
        epochs = epochs_trained(record.epochs, record.steps, record.steps_per_epoch)
        return record.seconds["train"] / epochs if epochs else None

    @property
    def seconds_to_best(self) -> float | None:
        """Training time until the evaluation whose weights were kept."""
        times = [line["seconds"] for line in self.history if line.get("best") and "seconds" in line]
        return times[-1] if times else None

    @cached_property
    def calibration(self) -> tuple[float, float] | None:
        """Expected calibration error, and predicted over observed clicks; None without test scores."""
        scores = self.scores()
        if scores is None:
            return None
        rows = scores.y_true, scores.y_pred
        return expected_calibration_error(*rows), predicted_over_observed(*rows)

    def scores(self) -> Scores | None:
        """Of the test rows, read from disk; None where the run kept none."""
        return RunFiles(self.folder).scores


def epochs_trained(epochs: int, steps: int | None, steps_per_epoch: int | None) -> float:
    """Epochs of a run, the last one perhaps in part; `epochs` where an earlier version kept no steps."""
    return steps / steps_per_epoch if steps is not None and steps_per_epoch else epochs
