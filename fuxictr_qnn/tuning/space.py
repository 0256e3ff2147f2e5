"""The space of a sweep, and its points as trials: validated experiments named by their hash."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fuxictr_qnn.config.keys import (
    DATASET_KEYS,
    FEATURE_KEYS,
    FIT_KEYS,
    IGNORED,
    ONLY_OFF,
    OTHER_KEYS,
    RENAMED,
)
from fuxictr_qnn.config.load import Loaded, class_of, resolved
from fuxictr_qnn.config.model_params import unknown_key
from fuxictr_qnn.data.fingerprint import PATHS
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.registry import (
    constructor_default,
    constructor_keys,
    find_model,
    is_own,
    zoo_package,
)
from fuxictr_qnn.runs.names import run_name
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.tuning.tuner_file import Tuner

Values = dict[str, Any]  # of the axes: key -> value

_KNOWN = FIT_KEYS | DATASET_KEYS | FEATURE_KEYS | OTHER_KEYS | set(RENAMED) | set(IGNORED) | set(ONLY_OFF)


@dataclass(frozen=True, eq=False)
class Trial:
    """One point of the space, validated.

    Attributes:
        values: of the axes, as the tuner file writes them.
        config_dir: the folder that relative paths of the dataset may start from.
        zoo_package: the package of its model's class where that is from --zoo.
    """

    values: Values
    experiment: Experiment
    seed: int
    config_dir: Path
    zoo_package: str = ""

    @property
    def name(self) -> str:
        """Of its run folder: `<expid>-<hash>/seed<S>`. The hash does not know the order of keys."""
        return run_name(self.experiment.expid, self.digest, self.seed)

    @property
    def digest(self) -> str:
        return self.experiment.digest

    @property
    def dataset(self) -> DatasetSpec:
        return self.experiment.dataset

    @property
    def identity(self) -> str:
        """What tells it from other trials: its name, and which files it reads."""
        paths = self.dataset.model_dump(mode="json", include=PATHS - {"source"})
        return json.dumps([self.name, paths], sort_keys=True)

    @property
    def words(self) -> list[str]:
        """`key=value` of each axis."""
        return [f"{key}={value_text(value)}" for key, value in self.values.items()]

    @property
    def label(self) -> str:
        return "  ".join(self.words)

    @property
    def settings_label(self) -> str:
        """The label without the seed."""
        return "  ".join(word for word in self.words if not word.startswith("seed="))


def value_text(value: Any) -> str:
    """A value as tables show it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


class Space:
    """All combinations of the values in a tuner file.

    Args:
        tuner: as it was read.
        zoo: a FuxiCTR model_zoo folder whose models come first.

    Attributes:
        fit: the keys of the fit loop with the first value of every axis. All trials monitor the same.

    Raises:
        RequestError: every problem with any single value; combinations are checked when they are made.
    """

    def __init__(self, tuner: Tuner, zoo: Path | None = None):
        self.tuner, self.zoo = tuner, zoo
        self.axes = tuner.axes
        self.entry = replace(tuner.base, name=tuner.expid)
        self.notes = list(tuner.notes)
        self._zoo_packages: dict[str, str] = {}
        self._check()

    @property
    def monitor(self) -> str:
        """What trials are compared by, as headings name it."""
        monitor = self.fit.monitor
        return monitor if isinstance(monitor, str) else "monitored sum"

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return math.prod(len(values) for values in self.axes.values())

    def values(self, index: int) -> Values:
        """The combination with this number; the last axis changes fastest."""
        found: Values = {}
        for key, values in reversed(self.axes.items()):
            index, place = divmod(index, len(values))
            found[key] = values[place]
        return {key: found[key] for key in self.axes}

    def trial(self, values: Values) -> Trial:
        """One combination as a trial.

        Raises:
            RequestError: with all that is wrong with it.
        """
        loaded = self._resolved(values)
        experiment = self._without_defaults(loaded.experiment)
        return Trial(values, experiment, loaded.seed, loaded.config_dir, self._zoo_package(experiment.model))

    def trials(self, indices: Iterable[int]) -> list[Trial]:
        """The trials with these numbers, each experiment once.

        Raises:
            RequestError: the problems of all of them.
        """
        found: dict[str, Trial] = {}
        problems: list[str] = []
        for index in indices:
            try:
                trial = self.trial(self.values(index))
            except RequestError as error:
                problems += error.problems
            else:
                found.setdefault(trial.identity, trial)
        if problems:
            raise RequestError(dict.fromkeys(problems))
        return list(found.values())

    def holds(self, values: Values) -> bool:
        """Whether this is one of the combinations."""
        return values.keys() == self.axes.keys() and all(
            any(repr(value) == repr(known) for known in self.axes[key]) for key, value in values.items()
        )

    def _without_defaults(self, experiment: Experiment) -> Experiment:
        """An axis at the constructor's default is the experiment without it, which may have been done.

        What the base writes down stays.
        """
        cls = find_model(experiment.model, self.zoo)
        written = self.entry.values.keys() | self.entry.base.keys()
        params = {
            key: value
            for key, value in experiment.model_params.items()
            if key in written or not _same(constructor_default(cls, key), value)
        }
        return experiment.model_copy(update={"model_params": params})

    def _zoo_package(self, model: str) -> str:
        if self.zoo is not None and model not in self._zoo_packages:
            self._zoo_packages[model] = zoo_package(find_model(model, self.zoo).__module__)
        return self._zoo_packages.get(model, "")

    def _resolved(self, values: Values) -> Loaded:
        problems: list[str] = []
        settings = self.tuner.settings(values, problems)
        return resolved(self.entry, settings, self.zoo, problems)

    def _check(self) -> None:
        """Try each value with the first ones of the other axes. Unknown keys are named once."""
        unknown = self._unknown_keys()
        known = {key: values for key, values in self.axes.items() if key not in unknown}
        fixed = {key: value for key, value in self.tuner.fixed.items() if key not in unknown}
        probe = replace(self.tuner, axes=known, fixed=fixed)
        problems = list(unknown.values())
        found: list[Loaded] = []
        for values in _one_by_one(known):
            said: list[str] = []
            try:
                found.append(resolved(self.entry, probe.settings(values, said), self.zoo, said))
            except RequestError as error:
                problems += error.problems
        if problems:
            raise RequestError(dict.fromkeys(problems))
        self.notes = list(dict.fromkeys([*self.notes, *(note for loaded in found for note in loaded.notes)]))
        self.fit = found[0].experiment.fit

    def _unknown_keys(self) -> dict[str, str]:
        """Keys that neither a model of the sweep, nor the fit loop, nor the dataset has, with a sentence."""
        named = [key for key in (*self.axes, *self.tuner.fixed) if key not in self.tuner.meanings]
        keys = {key for key in named if key.partition(".")[0] not in _KNOWN}
        settings = self.tuner.settings({key: values[0] for key, values in self.axes.items()}, [])
        if "model" not in settings:
            return {}
        models = self.axes.get("model", [settings["model"].value])
        accepted: set[str] = set()
        for model in models:
            cls = class_of(str(model), settings, self.zoo, [])
            if cls is None:  # said when its trial is checked
                return {}
            names, takes_any = constructor_keys(cls)
            if takes_any and not is_own(cls):
                return {}
            accepted |= names
        unknown = [key for key in named if key in keys - accepted]
        return {
            key: f"{self.tuner.place}: {key}: {unknown_key(key, ', '.join(map(str, models)), accepted)}"
            for key in unknown
            if key.partition(".")[0] not in accepted
        }


def _same(default: Any, value: Any) -> bool:
    """Equal, and of one kind: a tuple is a list, 1 is not True."""
    if isinstance(default, tuple):
        default = list(default)
    return type(default) is type(value) and default == value


def _one_by_one(axes: dict[str, list[Any]]) -> Iterator[Values]:
    """The first value of every axis, then each other value with the first ones of the others."""
    first = {key: values[0] for key, values in axes.items()}
    yield first
    for key, values in axes.items():
        for value in values[1:]:
            yield first | {key: value}
