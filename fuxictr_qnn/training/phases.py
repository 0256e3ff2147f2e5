"""What a prepared run does in its folder: train, measure, and score the test split once."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.calibration import figures
from fuxictr_qnn.training.evaluation import evaluate, metrics_of, score
from fuxictr_qnn.training.fit import Fit, Hooks, Position
from fuxictr_qnn.training.more_epochs import copy_state
from fuxictr_qnn.training.prepared import Prepared
from fuxictr_qnn.training.progress import FitProgress
from fuxictr_qnn.training.record import run_record
from fuxictr_qnn.training.warm_start import say

logger = logging.getLogger("fuxictr_qnn")


def carry_out(run: Prepared, force: bool, hooks: Hooks, keep_checkpoint: bool) -> dict[str, Any]:
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
        position, steps_per_epoch = _train(run, hooks)
        metrics = _measure(run, position)
        record = run_record(
            run.experiment,
            run.seed,
            run.model,
            run.built,
            position,
            steps_per_epoch,
            run.loaders["train"].num_samples,
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


def score_test(run: Prepared) -> dict[str, Any]:
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


def _train(run: Prepared, then: Hooks) -> tuple[Position, int]:
    """Train to the end, from the last checkpoint if there is one; returns the steps of an epoch, too.

    Args:
        then: called after what the run itself does.
    """
    folder, train = run.folder, run.loaders["train"]
    progress = FitProgress(run.experiment.fit.epochs, logger, bar=run.workers.is_first)

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
    return position, fit.steps_per_epoch


def _measure(run: Prepared, position: Position) -> dict[str, dict[str, float]]:
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


def _measure_test(run: Prepared, scores: Scores | None = None) -> dict[str, float]:
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


def _calibration(run: Prepared) -> dict[str, Any]:
    """For metrics.json, where training kept a part of the negatives: how far test predictions are off."""
    rate = run.experiment.dataset.negative_sampling_rate
    if rate is None or run.experiment.fit.task != "binary_classification":
        return {}
    scores = run.folder.scores
    if scores is None:
        return {}
    found = run.workers.first_does(lambda: figures(scores.y_true, scores.y_pred, rate))
    kept = {name: value for name, value in found.items() if not math.isnan(value)}
    return {"calibration": {"negative_sampling_rate": rate, "test": kept}}
