"""What processes of their own measure: the latency of trained weights, and the seconds an epoch will take."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.data import Loader, choose_buffer, load_feature_map, open_dataset, open_loaders
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.jobs import Job
from fuxictr_qnn.training.bf16 import mixed_precision
from fuxictr_qnn.training.device import choose_gpu, device_name, keep_freed_memory
from fuxictr_qnn.training.evaluation import scoring
from fuxictr_qnn.training.fit import Fit, Hooks, Position
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything

ROWS = 100
BATCHES = 50  # different ones, which are scored in turn
CALLS = 200
WARM_CALLS = 20

WARM_STEPS = 3
STEPS = 8  # timed at least
SECONDS = 1.5  # of steps, and of evaluation
MOST_SECONDS = 20.0  # after which two steps are enough

LATENCY = "latency_ms_per_100_rows"

logger = logging.getLogger("fuxictr_qnn")


def _open(
    job: Job, gpu: int | None, splits: Sequence[str], **sizes: int
) -> tuple[BaseModel, dict[str, Loader]]:
    """The model of a job with fresh weights, and its batches."""
    experiment, index = job.experiment, choose_gpu(gpu)
    keep_freed_memory()
    built = open_dataset(experiment.dataset, job.places, task=experiment.fit.task, log=logger.info)
    if job.data_fingerprint not in (None, built.fingerprint):
        raise RequestError(f"the data of {experiment.dataset.dataset_id} has changed meanwhile")
    feature_map = load_feature_map(built.feature_map, experiment.dataset, experiment.features)
    seed_everything(job.seed)
    model = build_model(experiment, feature_map, index, Path(job.out), job.zoo)
    paths, fit = {split: built.splits[split] for split in splits}, experiment.fit
    loaders = open_loaders(
        feature_map,
        paths,
        buffer_bytes=choose_buffer(feature_map, paths, fit.streaming, fit.memory_budget),
        log=logger.info,
        shuffle=fit.shuffle,
        seed=job.seed,
        **({"batch_size": fit.batch_size, "eval_batch_size": fit.eval_batch_size} | sizes),
    )
    return model, loaders


def measure_latency(job: Job, gpu: int | None) -> dict[str, Any]:
    """Score 100 validation rows at a time with the weights of a complete run; metrics.json gets the median.

    Milliseconds from rows in memory to scores in memory, in this process' threads.
    """
    model, loaders = _open(job, gpu, ["valid"], batch_size=ROWS, eval_batch_size=ROWS)
    folder = RunFolder(job.out, job.experiment, job.seed)
    folder.load_weights(model)
    model.eval()
    batches = list(itertools.islice(loaders["valid"], BATCHES))
    whole = [batch for batch in batches if len(next(iter(batch.values()))) == ROWS]
    if not whole:
        raise RequestError(f"latency: the validation split has fewer than {ROWS} rows")
    predict, amp, seconds = scoring(model), job.experiment.fit.amp, []
    with torch.inference_mode(), mixed_precision(model.device, amp):
        for batch in itertools.islice(itertools.cycle(whole), WARM_CALLS + CALLS):
            clock = time.perf_counter()
            predict(batch).cpu()
            seconds.append(time.perf_counter() - clock)
    latency = round(1000 * statistics.median(seconds[WARM_CALLS:]), 4)
    with folder.locked():
        record = folder.metrics | {LATENCY: latency, "latency_device": device_name(model.device)}
        folder.complete(record)
    return record


class _Enough(Exception):
    """So many steps tell how long an epoch takes."""


class _StepClock:
    """Seconds of each training step, those of the first few left out."""

    def __init__(self):
        self.seconds: list[float] = []
        self.steps_per_epoch = 1
        self._last: tuple[float, int] | None = None
        self._warm = WARM_STEPS
        self._began = time.perf_counter()

    def on_step(self, position: Position, steps_per_epoch: int) -> None:
        now, self.steps_per_epoch = time.perf_counter(), steps_per_epoch
        if self._last is not None:
            then, step = self._last
            if self._warm:
                self._warm -= 1
            else:
                self.seconds.append((now - then) / (position.step - step))
        self._last = now, position.step
        enough = len(self.seconds) >= STEPS and sum(self.seconds) >= SECONDS
        if enough or (len(self.seconds) >= 2 and now - self._began > MOST_SECONDS):
            raise _Enough

    def on_evaluation(self, record: dict[str, Any]) -> None:
        self._last = None  # what an evaluation takes is no part of a step


def time_epoch(job: Job, gpu: int | None) -> dict[str, Any]:
    """Train for a moment and evaluate for a moment: `train` and `evaluate` seconds of an epoch.

    Nothing is written.
    """
    model, loaders = _open(job, gpu, ["train", "valid"])
    fit = job.experiment.fit
    replace_optimizer(model, fit)
    clock = _StepClock()
    hooks = Hooks(on_step=clock.on_step, on_evaluation=clock.on_evaluation)
    try:
        Fit(model, fit, loaders["train"], loaders["valid"], hooks).run()
    except _Enough:
        pass
    steps = clock.steps_per_epoch
    evaluations = max(1, round(steps / (fit.eval_steps or steps)))
    return {
        "train": statistics.fmean(clock.seconds) * steps if clock.seconds else 0.0,
        "evaluate": _evaluation_seconds(model, loaders["valid"], fit.amp) * evaluations,
        "device": device_name(model.device),
    }


@torch.no_grad()
def _evaluation_seconds(model: BaseModel, valid: Loader, amp: str | None) -> float:
    """Seconds of one pass over the validation split, from its first batches; the first one warms up."""
    model.eval()
    predict, done, clock = scoring(model), 0, time.perf_counter()
    for number, batch in enumerate(valid):
        with mixed_precision(model.device, amp):
            predict(batch).cpu()
        if number == 0 and len(valid) > 1:
            clock = time.perf_counter()
            continue
        done += 1
        if time.perf_counter() - clock >= SECONDS:
            break
    return (time.perf_counter() - clock) / done * len(valid)
