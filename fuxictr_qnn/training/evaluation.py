"""Scores of a model over a loader, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from fuxictr.pytorch.models import BaseModel
from torch import Tensor

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.bf16 import mixed_precision
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.metrics import evaluate_metrics


@torch.no_grad()
def score(model: BaseModel, loader: Iterable, amp: str | None = None, workers: Workers = ALONE) -> Scores:
    """Run the model over a loader in evaluation mode; a model that overrides `predict` predicts so.

    Several workers score a part each; the first gets the scores of all.
    """
    model.eval()
    loader = workers.part(loader)
    predictions, labels, groups = [], [], []
    group_id = model.feature_map.group_id
    own_predict = type(model).predict is not BaseModel.predict
    predict = scoring(model)
    if own_predict:
        predictions.append(torch.as_tensor(model.predict(loader)).view(-1))
    for batch in loader:
        if not own_predict:
            with mixed_precision(model.device, amp):
                predictions.append(predict(batch).view(-1))
        labels.append(model.get_labels(batch).view(-1))
        if group_id is not None:
            groups.append(torch.as_tensor(model.get_group_id(batch)).view(-1).cpu())
    return workers.join(
        Scores(
            _array(predictions).astype(np.float64),
            _array(labels).astype(np.float64),
            None if group_id is None else _array(groups),
        )
    )


def _array(parts: list[Tensor]) -> np.ndarray:
    """The parts one after another; a worker may have none."""
    return torch.cat(parts).cpu().numpy() if parts else np.empty(0)


def scoring(model: BaseModel) -> Callable[[dict[str, Tensor]], Tensor]:
    """Batch -> predictions: by the model's scorer where it has one."""
    scorer = model.scorer() if isinstance(model, RankModel) else None
    return scorer or (lambda batch: model.forward(batch)["y_pred"])


def evaluate(
    model: BaseModel,
    loader: Iterable,
    metrics: Sequence[str],
    amp: str | None = None,
    workers: Workers = ALONE,
) -> dict[str, float]:
    """Metrics of the model over a loader, the same on all workers.

    A model that overrides `evaluate` does it its own way, on the first worker.

    Raises:
        RunError: a prediction is not finite, or the model's own `evaluate` lacks a metric or has NaN.
        RequestError: a metric that these labels do not define.
    """
    if type(model).evaluate is not BaseModel.evaluate:
        return workers.first_does(lambda: _by_model(model, loader, metrics))
    scores = score(model, loader, amp, workers)
    return workers.first_does(lambda: _defined(scores, metrics))


def _by_model(model: BaseModel, loader: Iterable, metrics: Sequence[str]) -> dict[str, float]:
    """What the model's own `evaluate` gives, if that is all of them; no later value improves on NaN."""
    found = model.evaluate(loader, metrics=list(metrics))
    values = {name: float(value) for name, value in found.items()}
    own = f"{type(model).__name__}.evaluate"
    if missing := [name for name in metrics if name not in values]:
        raise RunError(f"{own} gives no {', '.join(missing)}: take it out of metrics and monitor, or mend it")
    if bad := [name for name, value in values.items() if np.isnan(value)]:
        raise RunError(f"{own} gives NaN for {', '.join(bad)}: lower learning_rate, or mend it")
    return values


def _defined(scores: Scores, metrics: Sequence[str]) -> dict[str, float]:
    """Metrics of scores; RequestError for one that these labels do not define."""
    values = metrics_of(scores, metrics)
    undefined = [name for name, value in values.items() if np.isnan(value)]
    if undefined:
        labels = f": all its labels are {scores.y_true[0]:g}" if np.ptp(scores.y_true) == 0 else ""
        raise RequestError(f"{', '.join(undefined)} is not defined on this split{labels}; use another metric")
    return values


def metrics_of(scores: Scores, metrics: Sequence[str]) -> dict[str, float]:
    """Metrics of scores; NaN where these labels do not define one.

    Raises:
        RunError: a prediction that is not finite.
    """
    if not np.isfinite(scores.y_pred).all():
        bad = int((~np.isfinite(scores.y_pred)).sum())
        raise RunError(f"{bad} of {len(scores.y_pred)} predictions are not finite: lower learning_rate")
    return evaluate_metrics(scores.y_true, scores.y_pred, metrics, scores.group)
