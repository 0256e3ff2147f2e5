"""The tree-structured Parzen estimator of optuna: new trials where the old ones did best."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable
from typing import Any

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.tuning.search import RANDOM_SEED, shuffled
from fuxictr_qnn.tuning.space import Space, Trial, Values

_ASKS = 5  # times that optuna may name a trial that there is already


def require_optuna() -> None:
    """Refuse where optuna is not installed.

    Raises:
        RequestError: with the command that installs it.
    """
    import importlib.util

    if importlib.util.find_spec("optuna") is None:
        raise RequestError("--search tpe: optuna is not installed: pip install 'fuxictr-qnn[tune]'")


class Tpe:
    """Trials that optuna proposes, each once.

    A list of numbers is an ordered axis, on which neighbours are alike; any other list is a choice.

    Args:
        known: trials of earlier sessions; those that have not ended are done first.
        count: of all trials, the known ones included.
        maximise: whether a high value is a good one.
        startup: so many trials are drawn at random before the estimate begins.
    """

    def __init__(self, space: Space, known: Iterable[Trial], count: int, maximise: bool, startup: int = 5):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=RANDOM_SEED, n_startup_trials=startup, constant_liar=True, multivariate=True
            )
        self.study = optuna.create_study(direction="maximize" if maximise else "minimize", sampler=sampler)
        self.space, self.planned = space, list(known)
        self.count = max(min(count, space.size), len(self.planned))
        self._known = {trial.identity: trial for trial in self.planned}
        self._left = deque(self.planned)
        self._indices = shuffled(space.size)  # for when optuna has no new idea
        self._open: dict[str, Any] = {}  # optuna's trials by identity
        self._values: dict[str, float | None] = {}
        self._axes = {key: _Axis(values) for key, values in space.axes.items()}

    def ask(self) -> Trial | None:
        if self._left:
            return self._left.popleft()
        if len(self._known) >= self.count:
            return None
        trial = self._proposed() or self._drawn()
        if trial is None:  # there are fewer experiments than combinations
            self.count = len(self._known)
        else:
            self._known[trial.identity] = trial
        return trial

    def tell(self, trial: Trial, value: float | None) -> None:
        self._values[trial.identity] = value
        asked = self._open.pop(trial.identity, None)
        if asked is not None:
            self._close(asked, value)
        elif value is not None:
            self._add(trial.values, value)

    def _proposed(self) -> Trial | None:
        """A trial that optuna proposes and nobody did; of those there are, it hears the values again."""
        for _ in range(_ASKS):
            asked = self.study.ask({key: axis.distribution for key, axis in self._axes.items()})
            values = {key: axis.value(asked.params[key]) for key, axis in self._axes.items()}
            try:
                trial = self.space.trial(values)
            except RequestError:  # each value is sound, together they are not
                self._close(asked, None)
                continue
            if trial.identity not in self._known:
                self._open[trial.identity] = asked
                return trial
            self._close(asked, self._values.get(trial.identity))
        return None

    def _drawn(self) -> Trial | None:
        """Any trial that nobody did; None: there is none."""
        for index in self._indices:
            try:
                trial = self.space.trial(self.space.values(index))
            except RequestError:
                continue
            if trial.identity not in self._known:
                return trial
        return None

    def _close(self, asked: Any, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, value)

    def _add(self, values: Values, value: float) -> None:
        from optuna.trial import create_trial

        self.study.add_trial(
            create_trial(
                params={key: axis.place(values[key]) for key, axis in self._axes.items()},
                distributions={key: axis.distribution for key, axis in self._axes.items()},
                value=value,
            )
        )


class _Axis:
    """An axis as optuna sees it: places in a list."""

    def __init__(self, values: list[Any]):
        from optuna.distributions import CategoricalDistribution, IntDistribution

        ordered = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        self.values = sorted(values) if ordered else values
        places = range(len(values))
        self.distribution = (
            IntDistribution(0, len(values) - 1) if ordered else CategoricalDistribution(list(places))
        )

    def value(self, place: int) -> Any:
        return self.values[place]

    def place(self, value: Any) -> int:
        return next(place for place, other in enumerate(self.values) if repr(other) == repr(value))
