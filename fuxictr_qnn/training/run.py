"""One experiment with one seed, from the data to a complete run folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.data import (
    BuiltDataset,
    MemoryLoader,
    Places,
    StreamingLoader,
    load_feature_map,
    open_dataset,
)
from fuxictr_qnn.data.building.build import Engine
from fuxictr_qnn.data.dataset import SPLITS
from fuxictr_qnn.data.loaders.choice import GIB, is_streamed
from fuxictr_qnn.data.loaders.streaming import BUFFER_BYTES
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.training.device import choose_gpu, keep_freed_memory
from fuxictr_qnn.training.evaluation import evaluate, metrics_of, score
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.metrics import check_metrics
from fuxictr_qnn.training.progress import FitProgress
from fuxictr_qnn.training.record import run_record
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything

logger = logging.getLogger("fuxictr_qnn")
Loader = MemoryLoader | StreamingLoader


@dataclass(frozen=True)
class RunResult:
    """A complete run: its folder, metrics.json, and whether it was there already."""

    folder: Path
    metrics: dict[str, Any]
    reused: bool


def run_seed(
    experiment: Experiment,
    seed: int,
    *,
    places: Places,
    out: Path = Path("runs"),
    gpu: int | None = None,
    zoo: Path | None = None,
    resume: bool = False,
    force: bool = False,
    engine: Engine = "local",
) -> RunResult:
    """Train and measure one experiment with one seed, or return the complete run that is there.

    Args:
        experiment: what to run.
        seed: of weights, batch order and dropout.
        places: where raw data and builds lie.
        out: the root of the run folders.
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        zoo: a FuxiCTR model_zoo folder to look in first.
        resume: go on with an incomplete run.
        force: start anew whatever is there.
        engine: what builds the data, if it is not built yet: "local" or "ray".

    Raises:
        RequestError: the request or the data is wrong; nothing was changed.
        RunError: training failed; what was finished is kept.
    """
    folder = RunFolder(Path(out), experiment, seed)
    folder.check_writable()
    check_metrics([*experiment.fit.metrics, *experiment.fit.monitor_weights])
    gpu = choose_gpu(gpu)
    keep_freed_memory()
    folder.check_state(resume, force)
    task = experiment.fit.task
    built = open_dataset(experiment.dataset, places, task=task, log=logger.info, engine=engine)
    for warning in built.warnings:
        logger.warning(warning)
    if (complete := _complete_run(folder, built, force)) is not None:
        return complete
    _check_splits(experiment, built)

    feature_map = load_feature_map(built.feature_map, experiment.dataset, experiment.features)
    seed_everything(seed)
    model = build_model(experiment, feature_map, gpu, folder.path, zoo)
    replace_optimizer(model, experiment.fit)
    logger.info("%s: %s", experiment.model, f"{type(model).__module__}:{type(model).__name__}")
    buffer_bytes = _buffer_bytes(experiment, feature_map, built, None if force else folder)
    loaders = _loaders(experiment, feature_map, built, seed, buffer_bytes)
    try:
        with folder.locked():
            if (complete := _complete_run(folder, built, force)) is not None:  # finished by another process
                return complete
            if force or not folder.is_started:
                folder.clear()
            folder.write_config(experiment, seed, built.fingerprint, buffer_bytes)
            folder.link_features(built.folder)
            with _log_file(folder.path / "run.log"):
                metrics = _train_and_measure(experiment, seed, model, loaders, built, folder)
    except OSError as error:
        raise RunError(f"writing '{folder.path}' failed: {error}; --resume goes on") from error
    return RunResult(folder.path, metrics, reused=False)


def _complete_run(folder: RunFolder, built: BuiltDataset, force: bool) -> RunResult | None:
    """The run that is complete here on the same data, unless `force` starts anew.

    Raises:
        RequestError: a run on other data, complete or not, is here.
    """
    if force or folder.data_fingerprint is None:
        return None
    if folder.data_fingerprint != built.fingerprint:
        raise RequestError(
            f"'{folder.path}' holds a run on other data (fingerprint {folder.data_fingerprint}, now "
            f"{built.fingerprint}): add --force to replace it, or --out to keep both"
        )
    if folder.metrics is None:
        return None
    logger.info("complete already: %s (--force runs it again)", folder.path)
    return RunResult(folder.path, folder.metrics, reused=True)


def _train_and_measure(
    experiment: Experiment,
    seed: int,
    model: Any,
    loaders: dict[str, Loader],
    built: BuiltDataset,
    folder: RunFolder,
) -> dict[str, Any]:
    settings = experiment.fit
    progress = FitProgress(settings.epochs, logger)

    def on_evaluation(record: dict[str, Any]) -> None:
        folder.append_history(record)
        progress.evaluation(record)

    hooks = Hooks(progress.step, folder.save_weights, on_evaluation, folder.save_checkpoint)
    fit = Fit(model, settings, loaders["train"], loaders["valid"], hooks)
    if (state := folder.load_checkpoint()) is not None:
        fit.load(state)
        logger.info("resumed after evaluation %d, step %d", fit.position.evaluations, fit.position.step)
    folder.keep_history(fit.position.evaluations)
    with progress:
        position = fit.run()

    clock = time.perf_counter()
    folder.load_weights(model)
    metrics = {"valid": evaluate(model, loaders["valid"], settings.metrics, settings.amp)}
    if "test" in loaders:
        metrics["test"] = _measure_test(model, loaders["test"], settings, folder)
    position.evaluate_seconds += time.perf_counter() - clock
    rows = loaders["train"].num_samples * position.step / fit.steps_per_epoch
    record = run_record(experiment, seed, model, built, position, rows, metrics)
    folder.complete(record)
    for split, values in metrics.items():
        logger.info("%s: %s", split, "  ".join(f"{name} {value:.6f}" for name, value in values.items()))
    return record


def _measure_test(model: Any, loader: Loader, settings: Any, folder: RunFolder) -> dict[str, float]:
    """The one look at the test split: its scores are kept, its metrics come from them."""
    scores = score(model, loader, settings.amp)
    folder.write_scores(scores)
    metrics = metrics_of(scores, settings.metrics)
    undefined = [name for name, value in metrics.items() if math.isnan(value)]
    if undefined:
        logger.warning("%s is not defined on the test split: left out", ", ".join(undefined))
    return {name: value for name, value in metrics.items() if name not in undefined}


def _buffer_bytes(
    experiment: Experiment, feature_map: Any, built: BuiltDataset, folder: RunFolder | None
) -> int | None:
    """Bytes that are shuffled together where the data is streamed; None where it is held in memory.

    A run that goes on in `folder` keeps to what it began with, however much memory there is now: only so
    does it see the same batches.
    """
    if folder is not None and folder.is_started:
        return folder.buffer_bytes
    fit = experiment.fit
    paths = {split: path for split in SPLITS if (path := getattr(built, split))}
    if not is_streamed(feature_map, paths, fit.streaming, fit.memory_budget):
        return None
    return BUFFER_BYTES if fit.memory_budget is None else int(fit.memory_budget * GIB / 2)


def _loaders(
    experiment: Experiment, feature_map: Any, built: BuiltDataset, seed: int, buffer_bytes: int | None
) -> dict[str, Loader]:
    fit = experiment.fit
    keys = {"shuffle": fit.shuffle, "seed": seed}
    if buffer_bytes is not None:
        keys["buffer_bytes"] = buffer_bytes
    cls = MemoryLoader if buffer_bytes is None else StreamingLoader
    loaders = {}
    for split in SPLITS:
        path = getattr(built, split)
        if path is None:
            continue
        batch_size = fit.batch_size if split == "train" else fit.eval_batch_size or fit.batch_size
        loaders[split] = cls(feature_map, str(path), split=split, batch_size=batch_size, **keys)
    if isinstance(train := loaders["train"], StreamingLoader):
        logger.info("streaming from disk, up to %s rows at a time", f"{train.window_rows:,}")
        if train.shuffle and train.largest_piece > train.window_rows:
            logger.warning(
                "a row group of '%s' holds %d rows, more than the %d that memory_budget allows at a time: "
                "row groups are shuffled one by one, and take more memory",
                built.train,
                train.largest_piece,
                train.window_rows,
            )
    return loaders


def _check_splits(experiment: Experiment, built: BuiltDataset) -> None:
    """Refuse data that training would find unusable only after an epoch.

    Raises:
        RequestError: no training or validation data; one class only where AUC is monitored or measured.
    """
    name = experiment.dataset.dataset_id
    missing = [f"{split}_data" for split in ("train", "valid") if getattr(built, split) is None]
    if missing:
        raise RequestError(f"{name}: {' and '.join(missing)} must be set to train")
    wanted = {*experiment.fit.metrics, *experiment.fit.monitor_weights} & {"AUC", "gAUC", "avgAUC"}
    rates = built.facts.get("positive_rate", {}).get("valid", {}).values()
    if wanted and any(rate in (0, 1) for rate in rates):
        raise RequestError(
            f"{name}: valid_data: all its labels are {next(iter(rates)):g}, so {', '.join(sorted(wanted))} "
            "is not defined: use data with both classes, or other metrics and monitor"
        )


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Everything that is logged, FuxiCTR's messages included, goes to the run's log as well."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
