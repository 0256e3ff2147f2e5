"""One experiment with one seed, from the data to a complete run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.data import BuiltDataset, MemoryLoader, Places, load_feature_map, prepare
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.device import choose_gpu, keep_freed_memory
from fuxictr_qnn.training.evaluation import Scores, evaluate, metrics_of, score
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.progress import FitProgress
from fuxictr_qnn.training.record import run_record
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything

logger = logging.getLogger("fuxictr_qnn")


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

    Raises:
        RequestError: the request or the data is wrong; nothing was changed.
        RunError: training failed; what was finished is kept.
    """
    folder = RunFolder(Path(out), experiment, seed)
    folder.check_writable()
    gpu = choose_gpu(gpu)
    keep_freed_memory()
    built = prepare(experiment.dataset, places, task=experiment.fit.task, log=logger.info)
    for warning in built.warnings:
        logger.warning(warning)
    complete = folder.metrics
    if complete and not force:
        _check_same_data(complete, built, folder)
        logger.info("complete already: %s (--force runs it again)", folder.path)
        return RunResult(folder.path, complete, reused=True)
    if folder.is_started and not (resume or force):
        raise RequestError(
            f"'{folder.path}' holds an incomplete run: add --resume to go on or --force to start anew"
        )

    feature_map = load_feature_map(built.feature_map, experiment.dataset, experiment.features)
    seed_everything(seed)
    model = build_model(experiment, feature_map, gpu, folder.path, zoo)
    replace_optimizer(model, experiment.fit)
    logger.info("%s: %s", experiment.model, f"{type(model).__module__}:{type(model).__name__}")
    loaders = _loaders(experiment, feature_map, built, seed)
    with folder.locked():
        if force or not folder.is_started:
            folder.clear()
        folder.write_config(experiment, seed)
        folder.link_features(built.folder)
        with _log_file(folder.path / "run.log"):
            metrics = _train_and_measure(experiment, seed, model, loaders, built, folder)
    return RunResult(folder.path, metrics, reused=False)


def _train_and_measure(
    experiment: Experiment,
    seed: int,
    model: Any,
    loaders: dict[str, MemoryLoader],
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
    state = folder.load_checkpoint()
    if state is not None:
        fit.load(state)
        logger.info("resumed after evaluation %d, step %d", fit.position.evaluations, fit.position.step)
    folder.keep_history(fit.position.evaluations)
    with progress:
        fit.run()

    folder.load_weights(model)
    metrics = {"valid": evaluate(model, loaders["valid"], settings.metrics, settings.amp)}
    if "test" in loaders:
        metrics["test"] = _measure_test(model, loaders["test"], settings, folder)
    record = run_record(experiment, seed, model, built, fit.position, loaders["train"].num_samples, metrics)
    folder.complete(record)
    for split, values in metrics.items():
        logger.info("%s: %s", split, "  ".join(f"{name} {value:.6f}" for name, value in values.items()))
    return record


def _measure_test(model: Any, loader: MemoryLoader, settings: Any, folder: RunFolder) -> dict[str, float]:
    """The one look at the test split: its scores are kept, its metrics come from them."""
    scores: Scores = score(model, loader, settings.amp)
    folder.write_scores(scores)
    return metrics_of(scores, settings.metrics)


def _loaders(
    experiment: Experiment, feature_map: Any, built: BuiltDataset, seed: int
) -> dict[str, MemoryLoader]:
    fit = experiment.fit
    sizes = {"train": fit.batch_size}
    loaders = {}
    for split in ("train", "valid", "test"):
        path = getattr(built, split)
        if path is None:
            continue
        batch_size = sizes.get(split, fit.eval_batch_size or fit.batch_size)
        shuffle = split == "train" and fit.shuffle
        loaders[split] = MemoryLoader(
            feature_map, str(path), split=split, batch_size=batch_size, shuffle=shuffle, seed=seed
        )
    missing = [f"{split}_data" for split in ("train", "valid") if split not in loaders]
    if missing:
        raise RequestError(f"{experiment.dataset.dataset_id}: {' and '.join(missing)} must be set to train")
    return loaders


def _check_same_data(metrics: dict[str, Any], built: BuiltDataset, folder: RunFolder) -> None:
    if metrics["data_fingerprint"] != built.fingerprint:
        raise RequestError(
            f"'{folder.path}' holds a run on other data (fingerprint {metrics['data_fingerprint']}, now "
            f"{built.fingerprint}): add --force to replace it, or --out to keep both"
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
