"""What cannot be trained on several workers, said before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.experiment import Experiment


def check_workers(experiments: Iterable[Experiment], workers: int, zoo: Path | None = None) -> None:
    """Refuse experiments that several workers cannot train as one does.

    Raises:
        RequestError: with a sentence for each that they cannot.
    """
    problems = [problem for experiment in experiments for problem in _problems(experiment, workers, zoo)]
    if problems:
        raise RequestError(problems)


def _problems(experiment: Experiment, workers: int, zoo: Path | None) -> Iterator[str]:
    from fuxictr.pytorch.models import BaseModel

    from fuxictr_qnn.models.registry import model_class

    expid, model, params = experiment.expid, experiment.model, experiment.model_params
    batch_size = experiment.fit.batch_size
    if workers > batch_size:
        yield f"{expid}: batch_size: {batch_size} rows, the batch of all, are too few for {workers} workers"
    if model_class(model, params, zoo).train_step is not BaseModel.train_step:
        yield f"{expid}: {model} has a train_step of its own, which knows no other workers: use one process"
    if params.get("self_ensemble") is not False and params.get("consistency") == "cosine":
        yield (
            f"{expid}: consistency: cosine is that of whole batches, of which a worker has a part: use "
            "another one, or one process"
        )
