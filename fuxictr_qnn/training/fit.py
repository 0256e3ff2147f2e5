"""The fit loop: stands beside FuxiCTR's BaseModel, so that every model gets what it offers.

With the same batches, seed and dropout 0 it computes what BaseModel.fit computes. Beyond that: it
can be interrupted at any moment and resumed, reports the mean training loss rightly, evaluates at
the end of training too, and knows other schedules and averaged weights.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.errors import RunError
from fuxictr_qnn.training.averaging import make_average, weights_of
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.evaluation import evaluate
from fuxictr_qnn.training.schedule import PlateauSchedule, Verdict
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.step import LossLog, TrainStep


@dataclass
class Position:
    """Where training stands: the next batch to take, and what has been spent."""

    epoch: int = 0  # of the next batch, from 0
    batch: int = 0  # of the next batch within its epoch
    step: int = 0  # batches trained on so far
    evaluations: int = 0
    best_epoch: int = 0
    done: bool = False
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0


@dataclass
class Hooks:
    """What the surroundings do at the moments of a fit; each is optional."""

    on_step: Callable[[Position, int], None] = lambda position, steps_per_epoch: None
    on_best: Callable[[BaseModel], None] = lambda model: None
    on_evaluation: Callable[[dict[str, Any]], None] = lambda record: None
    on_checkpoint: Callable[[dict[str, Any]], None] = lambda state: None

    def then(self, other: Hooks) -> Hooks:
        """Both, one after the other."""

        def both(name: str) -> Callable[..., None]:
            one, two = getattr(self, name), getattr(other, name)

            def call(*arguments: Any) -> None:
                one(*arguments)
                two(*arguments)

            return call

        return Hooks(*(both(hook.name) for hook in fields(Hooks)))


@dataclass
class Fit:
    """Trains one model. `run` goes on from wherever `load` put it.

    Args:
        model: a FuxiCTR model with its optimizer.
        settings: the keys of the fit loop.
        train: batches; with `set_epoch` and `batches(start)` a resumed run sees the same ones.
        valid: batches to evaluate on.
        hooks: called at steps, evaluations, improvements and checkpoints.
        workers: that train it together, from the same batches.
    """

    model: BaseModel
    settings: FitSettings
    train: Any
    valid: Iterable
    hooks: Hooks = field(default_factory=Hooks)
    workers: Workers = ALONE

    def __post_init__(self):
        self.position = Position()
        self.schedule = PlateauSchedule(self.settings)
        self.average = make_average(self.settings)
        self.losses = LossLog()
        self.train_step = TrainStep(self.model, self.settings, self.workers)
        self.steps_per_epoch = len(self.train)
        self.eval_steps = self.settings.eval_steps or self.steps_per_epoch

    def run(self) -> Position:
        """Train until the schedule or the number of epochs ends it."""
        self._announce_to_model()
        self.model.train()
        while not self.position.done and self.position.epoch < self.settings.epochs:
            self._epoch()
        self.position.done = True
        return self.position

    def _epoch(self) -> None:
        position = self.position
        last_epoch = position.epoch == self.settings.epochs - 1
        self.model._epoch_index = position.epoch
        batches = self._batches()
        clock = time.perf_counter()
        while group := list(itertools.islice(batches, self.settings.accumulate_steps)):
            self.model._batch_index = position.batch
            self.model._total_steps = position.step + len(group)
            loss = self._step(group)
            self.average.after_step(self.model)
            before, position.step = position.step, position.step + len(group)
            position.batch += len(group)
            self.losses.add(position.step, loss)
            self.hooks.on_step(position, self.steps_per_epoch)
            due = before // self.eval_steps != position.step // self.eval_steps
            if due or (last_epoch and position.batch >= self.steps_per_epoch):
                position.train_seconds += time.perf_counter() - clock
                self._evaluation()
                clock = time.perf_counter()
            if position.done:
                return
        position.train_seconds += time.perf_counter() - clock
        position.epoch, position.batch = position.epoch + 1, 0

    def _step(self, group: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        try:
            return self.train_step(group)
        except RuntimeError as error:
            self.losses.check()  # torch refuses NaN inputs: the loss before explains it better
            raise RunError(f"training failed at step {self.position.step + 1}: {error}") from error

    def _batches(self) -> Iterator:
        """The rest of this epoch's batches."""
        position = self.position
        if hasattr(self.train, "set_epoch"):
            self.train.set_epoch(position.epoch)
        if hasattr(self.train, "batches"):
            return iter(self.train.batches(start=position.batch))
        return itertools.islice(iter(self.train), position.batch, None)

    def _evaluation(self) -> None:
        position, settings = self.position, self.settings
        clock = time.perf_counter()
        train_loss = self.losses.take()
        with weights_of(self.model, self.average.at_evaluation(self.model)):
            metrics = self._metrics()
            monitored = sum(metrics[name] * weight for name, weight in settings.monitor_weights.items())
            verdict = self.schedule.update(monitored)
            if verdict.best:
                position.best_epoch = position.epoch + 1
                self.hooks.on_best(self.model)
        self.model.train()
        record = self._record(train_loss, metrics, verdict)
        if verdict.cut:
            for group in self.model.optimizer.param_groups:
                group["lr"] = max(group["lr"] * settings.reduce_lr_factor, settings.min_lr)
        position.evaluations += 1
        position.done = verdict.stop
        position.evaluate_seconds += time.perf_counter() - clock
        self.hooks.on_evaluation(record | {"seconds": round(position.train_seconds, 3)})
        self.hooks.on_checkpoint(self.state())

    def _metrics(self) -> dict[str, float]:
        """Of the validation split."""
        names = list(dict.fromkeys([*self.settings.metrics, *self.settings.monitor_weights]))
        try:
            return evaluate(self.model, self.valid, names, self.settings.amp, self.workers)
        except RuntimeError as error:  # no memory, say
            raise RunError(f"evaluation failed after step {self.position.step}: {error}") from error

    def _record(self, train_loss: float, metrics: dict[str, float], verdict: Verdict) -> dict[str, Any]:
        """One line of the history."""
        return {
            "evaluation": self.position.evaluations + 1,
            "epoch": self.position.epoch + 1,
            "step": self.position.step,
            "train_loss": train_loss,
            "learning_rate": self.model.optimizer.param_groups[0]["lr"],
            **metrics,
            "best": verdict.best,
            "lr_cut": verdict.cut,
        }

    def _announce_to_model(self) -> None:
        """Set the attributes that a model's own train_step or evaluate may read in FuxiCTR."""
        model = self.model
        model.valid_gen = self.valid
        model._max_gradient_norm = self.settings.max_gradient_norm
        model._steps_per_epoch = self.steps_per_epoch
        model._eval_steps = self.eval_steps
        model._best_metric = -np.inf if self.settings.monitor_mode == "max" else np.inf
        model._stopping_steps = 0
        model._stop_training = False
        model._total_steps = self.position.step
        model._batch_index = model._epoch_index = 0

    # Checkpoints: everything that the rest of the training depends on

    def state(self) -> dict[str, Any]:
        """Weights, optimizer, schedule, averages, position and random states, as plain data."""
        own, *of_others = self.workers.gather(_random_state())
        return {
            "model": self.model.state_dict(),
            "optimizer": self.model.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "average": self.average.state(),
            "position": dict(vars(self.position)),
            "random": own,
            "random_of_others": of_others,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Put the training where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.model.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load(state["schedule"])
        self.average.load(_to_device(state["average"], self.model.device))
        self.position = Position(**state["position"])
        states = [state["random"], *state.get("random_of_others", [])]
        if self.workers.rank < len(states):  # fewer: more workers go on than there were
            _restore_random_state(states[self.workers.rank])


def _to_device(state: Any, device: torch.device) -> Any:
    """Plain data with its tensors on `device`; a checkpoint is read on the CPU."""
    if isinstance(state, torch.Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: _to_device(value, device) for key, value in state.items()}
    return [_to_device(value, device) for value in state] if isinstance(state, list) else state


def _random_state() -> dict[str, Any]:
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "python": random.getstate(),
    }


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    if "python" in state:  # checkpoints of earlier versions have none
        random.setstate(state["python"])
