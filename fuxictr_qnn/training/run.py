"""One experiment with one seed, from the data to a complete run folder."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data import (
    BuiltDataset,
    Engine,
    Loader,
    Places,
    choose_buffer,
    load_feature_map,
    open_dataset,
    open_loaders,
)
from fuxictr_qnn.data.dataset import SPLITS
from fuxictr_qnn.errors import CutShort, RequestError
from fuxictr_qnn.training.calibration import figures
from fuxictr_qnn.training.device import choose_gpu, keep_freed_memory
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.evaluation import Scores, evaluate, metrics_of, score
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.fit import Fit, Hooks, Position
from fuxictr_qnn.training.metrics import check_metrics
from fuxictr_qnn.training.more_epochs import Shorter, copy_state, find_shorter
from fuxictr_qnn.training.progress import FitProgress
from fuxictr_qnn.training.record import run_record
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything
from fuxictr_qnn.training.warm_start import say, warm_start

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
    engine: Engine = "local",
    workers: Workers = ALONE,
    test: bool = True,
    data_fingerprint: str | None = None,
    hooks: Hooks | None = None,
    keep_checkpoint: bool = False,
) -> RunResult:
    """Train and measure one experiment with one seed, or return the complete run that is there.

    Args:
        experiment: what to run.
        seed: of weights, batch order and dropout.
        places: where raw data and builds lie.
        out: the root of the run folders.
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        zoo: a FuxiCTR model_zoo folder to look in first.
        resume: go on with an incomplete run, or with a complete one of fewer epochs that kept its checkpoint.
        force: start anew whatever is there.
        engine: what builds the data, if it is not built yet: "local" or "ray".
        workers: that do it together; each of them calls this function with the same arguments.
        test: score the test split at the end; False leaves it unread. Of a complete run whose test split was
            left unread, its weights score it now.
        data_fingerprint: that the data must have; any other is refused.
        hooks: called after the run's own at the moments of the fit; what they raise ends the run where it is.
        keep_checkpoint: of a run that its number of epochs ends, so that more epochs can go on from there.

    Raises:
        RequestError: the request or the data is wrong; nothing was changed.
        RunError: training failed; what was finished is kept.
    """
    folder = workers.folder(RunFolder(Path(out), experiment, seed))

    def begin() -> _Run | RunResult:
        folder.check_writable()
        check_metrics([*experiment.fit.metrics, *experiment.fit.monitor_weights])
        index = choose_gpu(gpu)
        keep_freed_memory()
        folder.check_state(resume, force)
        built = workers.first_then_all(lambda: _open_data(experiment, places, engine))
        if data_fingerprint not in (None, built.fingerprint):
            raise RequestError(
                f"the data of {experiment.dataset.dataset_id} has changed meanwhile: its fingerprint was "
                f"{data_fingerprint}, and is {built.fingerprint} now; the same command takes it as it is now"
            )
        if (complete := _complete_run(folder, built, force, test)) is not None:
            return complete
        check_splits(experiment, built)
        wanted = ("test",) if folder.metrics is not None and not force else SPLITS if test else SPLITS[:2]
        splits = {split: path for split, path in built.splits.items() if split in wanted}
        shorter = None
        if resume and folder.metrics is None and not folder.has_checkpoint:
            shorter = workers.first_does(lambda: find_shorter(experiment, seed, Path(out), built.fingerprint))
        return _prepare(experiment, seed, folder, built, splits, index, zoo, force, workers, shorter)

    run = workers.all_do(begin)
    if isinstance(run, RunResult):
        return run
    workers.adopt(run.model, seed)
    try:
        with folder.locked():  # another process may have finished it meanwhile
            if (
                complete := workers.all_do(lambda: _complete_run(folder, run.built, force, test))
            ) is not None:
                return complete
            unread = folder.metrics is not None and not force
            metrics = (
                _score_test(run) if unread else _carry_out(run, force, hooks or Hooks(), keep_checkpoint)
            )
    except OSError as error:
        raise CutShort(f"writing '{folder.path}' failed: {error}") from error
    return RunResult(folder.path, metrics, reused=False)


def _open_data(experiment: Experiment, places: Places, engine: Engine) -> BuiltDataset:
    task = experiment.fit.task
    built = open_dataset(experiment.dataset, places, task=task, log=logger.info, engine=engine)
    for warning in built.warnings:
        logger.warning(warning)
    return built


def _complete_run(folder: RunFolder, built: BuiltDataset, force: bool, test: bool) -> RunResult | None:
    """The run that is complete here on the same data, unless `force` starts anew.

    None also for one whose test split was left unread and is to be scored.

    Raises:
        RequestError: a run on other data, complete or not, is here, or the weights that are to score the test
            split are gone.
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
    if test and built.test is not None and "test" not in folder.metrics:
        if folder.has_weights:
            return None
        raise RequestError(
            f"'{folder.path}' holds a run of a sweep, which left the test split unread and kept no weights: "
            "add --force to replace it, or --out to keep both"
        )
    logger.info("complete already: %s (--force runs it again)", folder.path)
    return RunResult(folder.path, folder.metrics, reused=True)


@dataclass(frozen=True)
class _Run:
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


def _prepare(
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
) -> _Run:
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
    if folder.is_started and not force:
        buffer_bytes = folder.buffer_bytes
    elif shorter:
        buffer_bytes = shorter.buffer_bytes
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
    return _Run(experiment, seed, folder, built, model, loaders, buffer_bytes, workers, shorter, carried)


def _carry_out(run: _Run, force: bool, hooks: Hooks, keep_checkpoint: bool) -> dict[str, Any]:
    """Begin or go on with the run in its folder, which is ours now; returns the contents of metrics.json."""
    folder = run.folder
    if force or not folder.is_started:
        folder.clear()
    folder.write_config(run.experiment, run.seed, run.built.fingerprint, run.buffer_bytes)
    folder.link_features(run.built.folder)
    if run.carried:
        folder.write_warm_start(run.carried)
    if run.shorter:
        run.workers.first_does(lambda: copy_state(run.shorter, folder.path))
    with folder.logged():
        if run.carried and not folder.has_checkpoint:
            say(run.carried)
        position, rows = _train(run, hooks)
        metrics = _measure(run, position)
        record = run_record(
            run.experiment,
            run.seed,
            run.model,
            run.built,
            position,
            rows,
            metrics,
            run.buffer_bytes,
            run.workers.size,
        )
        if run.carried:
            record["warm_start"] = run.carried
        record |= _calibration(run)
        folder.complete(record, keep_checkpoint and position.epoch == run.experiment.fit.epochs)
        for split, values in metrics.items():
            logger.info("%s: %s", split, "  ".join(f"{name} {value:.6f}" for name, value in values.items()))
    return record


def _score_test(run: _Run) -> dict[str, Any]:
    """Add the test metrics of the kept weights to a complete run; returns the contents of metrics.json.

    Where a kill came between scores and metrics, the metrics follow from those scores.
    """
    folder = run.folder
    with folder.logged():
        clock = time.perf_counter()
        folder.load_weights(run.model)
        test = _measure_test(run, folder.scores)
        record = {}
        for key, value in folder.metrics.items():
            record |= {key: value} | ({"test": test} if key == "valid" else {})
        seconds = record["seconds"]["evaluate"] + time.perf_counter() - clock
        record["seconds"] = record["seconds"] | {"evaluate": round(seconds, 3)}
        record |= _calibration(run)
        folder.complete(record)
        logger.info("test: %s", "  ".join(f"{name} {value:.6f}" for name, value in test.items()))
    return record


def _train(run: _Run, then: Hooks) -> tuple[Position, float]:
    """Train to the end, from the last checkpoint if there is one; returns the rows trained on, too.

    Args:
        then: called after what the run itself does.
    """
    folder, train = run.folder, run.loaders["train"]
    progress = FitProgress(run.experiment.fit.epochs, logger)

    def on_evaluation(record: dict[str, Any]) -> None:
        folder.append_history(record)
        progress.evaluation(record)

    hooks = Hooks(progress.step, folder.save_weights, on_evaluation, folder.save_checkpoint)
    fit = Fit(run.model, run.experiment.fit, train, run.loaders["valid"], hooks.then(then), run.workers)
    if (state := folder.load_checkpoint()) is not None:
        fit.load(state)
        logger.info("resumed after evaluation %d, step %d", fit.position.evaluations, fit.position.step)
    folder.keep_history(fit.position.evaluations)
    with progress:
        position = fit.run()
    return position, train.num_samples * position.step / fit.steps_per_epoch


def _measure(run: _Run, position: Position) -> dict[str, dict[str, float]]:
    """Metrics of the best weights by split; the time it takes goes to `position`."""
    clock = time.perf_counter()
    settings = run.experiment.fit
    run.folder.load_weights(run.model)
    valid = evaluate(run.model, run.loaders["valid"], settings.metrics, settings.amp, run.workers)
    metrics = {"valid": valid}
    if "test" in run.loaders:
        metrics["test"] = _measure_test(run)
    position.evaluate_seconds += time.perf_counter() - clock
    return metrics


def _measure_test(run: _Run, scores: Scores | None = None) -> dict[str, float]:
    """The one look at the test split: its scores are kept, its metrics come from them.

    Args:
        scores: where it was looked at already.
    """
    settings = run.experiment.fit
    if scores is None:
        scores = score(run.model, run.loaders["test"], settings.amp, run.workers)
        run.folder.write_scores(scores)
    metrics = run.workers.first_does(lambda: metrics_of(scores, settings.metrics))
    undefined = [name for name, value in metrics.items() if math.isnan(value)]
    if undefined:
        logger.warning("%s is not defined on the test split: left out", ", ".join(undefined))
    return {name: value for name, value in metrics.items() if name not in undefined}


def _calibration(run: _Run) -> dict[str, Any]:
    """For metrics.json, where training kept a part of the negatives: how far test predictions are off."""
    rate, scores = run.experiment.dataset.negative_sampling_rate, run.folder.scores
    if rate is None or scores is None or run.experiment.fit.task != "binary_classification":
        return {}
    found = run.workers.first_does(lambda: figures(scores.y_true, scores.y_pred, rate))
    kept = {name: value for name, value in found.items() if not math.isnan(value)}
    return {"calibration": {"negative_sampling_rate": rate, "test": kept}}


def check_splits(experiment: Experiment, built: BuiltDataset) -> None:
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
