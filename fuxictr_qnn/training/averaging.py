"""Averaged weights: evaluated and kept in place of the last ones."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fuxictr_qnn.training.settings import FitSettings

State = dict[str, Tensor]


class NoAverage:
    """The weights as they are."""

    def after_step(self, model: nn.Module) -> None:
        """Nothing to follow."""

    def at_evaluation(self, model: nn.Module) -> State | None:
        """The weights to evaluate; None means the model's own."""
        return None

    def state(self) -> dict:
        return {}

    def load(self, state: dict) -> None:
        """Nothing to restore."""


class ExponentialAverage(NoAverage):
    """w <- d w + (1 - d) w_t after every step, with d = min(decay, (1 + t) / (10 + t)) at step t.

    The growing decay lets the average forget the first steps. Running statistics of batch norm are
    averaged with the weights they belong to.
    """

    def __init__(self, decay: float):
        self.decay, self.steps, self.average = decay, 0, {}

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        now = _floats(model)
        self.steps += 1
        if not self.average:
            self.average = {name: value.clone() for name, value in now.items()}
            return
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.values()), list(now.values()), 1 - decay)

    def at_evaluation(self, model: nn.Module) -> State | None:
        return self.average or None

    def state(self) -> dict:
        return {"steps": self.steps, "average": self.average}

    def load(self, state: dict) -> None:
        self.steps, self.average = state["steps"], state["average"]


class LastEvaluations(NoAverage):
    """The mean of the weights at the last k evaluations."""

    def __init__(self, count: int):
        self.recent: deque[State] = deque(maxlen=count)

    @torch.no_grad()
    def at_evaluation(self, model: nn.Module) -> State | None:
        self.recent.append({name: value.clone() for name, value in _floats(model).items()})
        return {name: torch.stack([s[name] for s in self.recent]).mean(0) for name in self.recent[0]}

    def state(self) -> dict:
        return {"recent": list(self.recent)}

    def load(self, state: dict) -> None:
        self.recent.extend(state["recent"])


def make_average(settings: FitSettings) -> NoAverage:
    """The average that the settings ask for."""
    if settings.ema_decay is not None:
        return ExponentialAverage(settings.ema_decay)
    if settings.average_last is not None:
        return LastEvaluations(settings.average_last)
    return NoAverage()


@contextmanager
def weights_of(model: nn.Module, average: State | None):
    """The model with the averaged weights in place, its own ones back afterwards."""
    if average is None:
        yield
        return
    with torch.no_grad():
        own = {name: value.clone() for name, value in _floats(model).items()}
        _copy(model, average)
        try:
            yield
        finally:
            _copy(model, own)


def _floats(model: nn.Module) -> State:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


def _copy(model: nn.Module, values: State) -> None:
    for name, target in _floats(model).items():
        target.copy_(values[name])
