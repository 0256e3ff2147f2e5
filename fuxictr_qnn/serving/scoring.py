"""`load_run`: a trained run as a function from tables to predictions."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.runs.saved import OUT, SavedRun, open_run
from fuxictr_qnn.serving.encoded import IdRows
from fuxictr_qnn.serving.encoding import Encoded, RowEncoder
from fuxictr_qnn.serving.request import check_input
from fuxictr_qnn.serving.tables import as_frame
from fuxictr_qnn.training.bf16 import mixed_precision
from fuxictr_qnn.training.calibration import corrected
from fuxictr_qnn.training.device import choose_gpu
from fuxictr_qnn.training.evaluation import scoring

_ROWS = 4096  # scored at a time: what a layer makes of them is small


class RunScorer:
    """A trained run. Threads may share one.

    Args:
        run: what to load.
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        zoo: the FuxiCTR checkout that the run's model is from.
        encoded: whether rows hold ids as the encoded data did that the run was trained on.
        feature_processor: the class with the run's own preprocess functions, which is imported only if it is
            named here, too.

    Attributes:
        features: the columns that rows must have; for one that a preprocess function makes, what it reads.
        metrics: the contents of the run's metrics.json.

    Raises:
        RequestError: files that cannot be used, or a run on encoded data without `encoded`.
    """

    def __init__(
        self,
        run: SavedRun,
        gpu: int | None = -1,
        zoo: Path | None = None,
        encoded: bool = False,
        feature_processor: str | None = None,
    ):
        check_input(run, encoded)
        self.run = run
        self.metrics = run.metrics
        self._model = run.model(choose_gpu(gpu), zoo)
        feature_map = self._model.feature_map
        self.encoder = (
            IdRows(feature_map)
            if encoded
            else RowEncoder(run.features, feature_map.features, feature_processor)
        )
        self.features = self.encoder.columns
        self._predict = scoring(self._model)
        self._own_predict = type(self._model).predict is not BaseModel.predict
        self._alone = threading.Lock()

    def predict(self, data: Any) -> np.ndarray:
        """The probability of a click (regression: the predicted value) of each row, float64, in their order.

        Args:
            data: a polars or pandas frame, an arrow table, or a dict of columns; see `as_frame`. Columns that
                no feature needs are ignored; values that are not in the vocabulary count as unknown.

        Raises:
            RequestError: missing columns, wrong types, values that the run's data could not have held.
        """
        return self.score(self.encoder.encode(Block(Path("rows"), 0, as_frame(data))))

    @torch.inference_mode()
    def score(self, rows: Encoded) -> np.ndarray:
        """Predictions for encoded rows, float64 (rows,), corrected for the negatives left out of training."""
        if not rows.rows:
            return np.empty(0)
        tensors = {name: torch.from_numpy(values) for name, values in rows.columns.items()}
        parts = []
        for start in range(0, rows.rows, _ROWS):
            batch = {name: values[start : start + _ROWS] for name, values in tensors.items()}
            parts.append(self._forward(batch).view(-1).float())
        scores = torch.cat(parts).cpu().numpy().astype(np.float64)
        if not np.isfinite(scores).all():
            raise RunError(f"{self.run.name} predicts values that are not finite: its training has diverged")
        return corrected(scores, self.run.dataset.negative_sampling_rate)

    def _forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if self._own_predict:  # it may keep something in the model
            with self._alone:
                return torch.as_tensor(self._model.predict([batch]))
        with mixed_precision(self._model.device, self.run.experiment.fit.amp):
            return self._predict(batch)


def load_run(
    run: str | Path,
    *,
    gpu: int | None = -1,
    zoo: Path | None = None,
    out: str | Path = OUT,
    encoded: bool = False,
    feature_processor: str | None = None,
) -> RunScorer:
    """Load a trained run to predict with: `load_run(RUN).predict(frame)`.

    Args:
        run: a run folder, or an expid: then its newest complete run below `out` that kept its
            weights.
        gpu, zoo, encoded, feature_processor: as for RunScorer.

    Raises:
        RequestError: no such run, or one whose files cannot be used.
    """
    return RunScorer(open_run(run, Path(out)), gpu, zoo and Path(zoo), encoded, feature_processor)
