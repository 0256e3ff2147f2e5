"""What a run is made of before it begins: model, batches, and what it goes on from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data import BuiltDataset, Loader, choose_buffer, load_feature_map, open_loaders
from fuxictr_qnn.training.distributed.workers import Workers
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.more_epochs import Shorter
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything
from fuxictr_qnn.training.warm_start import warm_start

logger = logging.getLogger("fuxictr_qnn")


@dataclass(frozen=True)
class Prepared:
    """What one run is made of; `buffer_bytes` (None: not streamed) decides the order of its rows.

    Attributes:
        shorter: the run that this one goes on with.
        carried: what was carried over from `init_from`.
    """

    experiment: Experiment
    seed: int
    folder: RunFolder
    built: BuiltDataset
    model: BaseModel
    loaders: dict[str, Loader]
    buffer_bytes: int | None
    workers: Workers
    shorter: Shorter | None = None
    carried: dict[str, Any] | None = None


def prepare(
    experiment: Experiment,
    seed: int,
    folder: RunFolder,
    built: BuiltDataset,
    splits: dict[str, Path],
    gpu: int,
    zoo: Path | None,
    force: bool,
    workers: Workers,
    shorter: Shorter | None = None,
) -> Prepared:
    """Model and batches. A run that goes on keeps to the way its batches began, or it would see others."""
    feature_map = load_feature_map(built.feature_map, experiment.dataset, experiment.features)
    seed_everything(seed)
    model = build_model(experiment, feature_map, gpu, folder.path, zoo)
    replace_optimizer(model, experiment.fit)
    carried = None
    if experiment.init_from:
        own = None if force else shorter.metrics["warm_start"] if shorter else folder.carried_before
        carried = own or workers.first_does(lambda: warm_start(model, experiment.init_from, built.folder))
    logger.info("%s: %s", experiment.model, f"{type(model).__module__}:{type(model).__name__}")
    fit = experiment.fit
    if shorter:  # before the folder, whose own beginning, if there is one, left no checkpoint
        buffer_bytes = shorter.buffer_bytes
    elif not force and folder.is_started:
        buffer_bytes = folder.buffer_bytes
    else:
        buffer_bytes = workers.first_does(
            lambda: choose_buffer(feature_map, splits, fit.streaming, fit.memory_budget)
        )
    loaders = open_loaders(
        feature_map,
        splits,
        batch_size=fit.batch_size,
        eval_batch_size=fit.eval_batch_size,
        buffer_bytes=buffer_bytes,
        log=logger.info,
        shuffle=fit.shuffle,
        seed=seed,
    )
    for warning in loaders["train"].warnings if "train" in loaders else ():
        logger.warning(warning)
    return Prepared(experiment, seed, folder, built, model, loaders, buffer_bytes, workers, shorter, carried)
