"""What cannot be trained on several workers, said before anything starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fuxictr_qnn.training.experiment import Experiment


def problems_of(experiments: Iterable[Experiment], workers: int, zoo: Path | None = None) -> list[str]:
    """A sentence for each experiment that cannot."""
    return [problem for experiment in experiments for problem in _problems_of(experiment, workers, zoo)]


def _problems_of(experiment: Experiment, workers: int, zoo: Path | None) -> Iterable[str]:
    from fuxictr.pytorch.models import BaseModel

    from fuxictr_qnn.models.registry import model_class

    expid, params = experiment.expid, experiment.model_params
    if workers > experiment.fit.batch_size:
        yield (
            f"{expid}: batch_size {experiment.fit.batch_size} is the batch of all workers together: too small "
            f"for {workers} workers"
        )
    if model_class(experiment.model, params, zoo).train_step is not BaseModel.train_step:
        yield (
            f"{expid}: {experiment.model} has a train_step of its own, which knows no other workers; train it "
            "in one process"
        )
    if params.get("self_ensemble") is not False and params.get("consistency") == "cosine":
        yield (
            f"{expid}: consistency: cosine is an angle between whole batches, of which each worker sees a part; "
            "use another consistency, or one process"
        )
