"""What is searched, as data: space.yaml beside this file, or a user's own file of its format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fuxictr_qnn.config.keys import DATASET_KEYS, FIT_KEYS
from fuxictr_qnn.config.problems import sentences
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.models.registry import ALIASES
from fuxictr_qnn.tuning.tuner_file import NOT_SWEPT
from fuxictr_qnn.yaml_files import read_yaml

SHIPPED = Path(__file__).with_name("space.yaml")
# The protocol's third rule, and what a run's weights are chosen by.
SAME_FOR_ALL = ("embedding_dim", "batch_size", "accumulate_steps", "epochs", "monitor", "monitor_mode")
SCHEDULE = "schedule"
MOST_OWN = 2

Axis = Annotated[list[Any], Field(min_length=1)]


class ModelAxes(BaseModel):
    """What shared axes are called in a model (null: it has none such), and its own axes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: dict[str, str | list[str] | None] = {}
    own: dict[str, Axis] = {}


class SearchSpace(BaseModel):
    """A space file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shared: dict[str, Axis] = {}
    schedules: dict[str, dict[str, Any]] = {}
    datasets: dict[str, dict[str, Axis]] = {}
    keys: dict[str, str | list[str]] = {}
    models: dict[str, ModelAxes] = {}

    def of(self, model: str, dataset_id: str, accepted: Collection[str]) -> Axes:
        """The axes of a model.

        Args:
            accepted: the keys of its constructor.
        """
        known = {ALIASES.get(name, name): axes for name, axes in self.models.items()}
        listed = known.get(ALIASES.get(model, model))
        shared = self.shared | self.datasets.get(dataset_id, {})
        found = Axes(own=dict(listed.own) if listed else {}, is_listed=listed is not None)
        for axis, values in shared.items():
            keys = self._keys(axis, listed, accepted)
            if keys is None:
                found.left_out.append(axis)
                continue
            found.shared[axis] = values
            if axis == SCHEDULE:
                found.meanings[axis] = [self.schedules[value] for value in values]
            elif keys != [axis]:
                found.meanings[axis] = [dict.fromkeys(keys, value) for value in values]
        return found

    def _keys(self, axis: str, listed: ModelAxes | None, accepted: Collection[str]) -> list[str] | None:
        """The model's keys for a shared axis; None where it has none."""
        if axis == SCHEDULE:
            return [axis]
        if listed is not None and axis in listed.keys:
            said = listed.keys[axis]
            return None if said is None else _listed(said)
        keys = _listed(self.keys.get(axis, axis))
        return keys if all(key in accepted or key in FIT_KEYS for key in keys) else None


@dataclass
class Axes:
    """The axes of one model on one dataset: name -> values; `meanings` as in `Tuner`.

    Attributes:
        left_out: shared axes that the model does not have.
        is_listed: whether the space names the model.
    """

    shared: dict[str, list[Any]] = field(default_factory=dict)
    own: dict[str, list[Any]] = field(default_factory=dict)
    meanings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    is_listed: bool = False

    @property
    def values(self) -> dict[str, list[Any]]:
        """All of them."""
        return self.shared | self.own

    @property
    def keys(self) -> set[str]:
        """Every key of a config that some value sets."""
        plain = self.values.keys() - self.meanings.keys()
        return plain | {key for axis in self.meanings for key in self.keys_of(axis)}

    def keys_of(self, axis: str) -> list[str]:
        """The keys that an axis sets."""
        return list(dict.fromkeys(key for value in self.meanings.get(axis, [{axis: None}]) for key in value))


def read_space(file: Path | None = None) -> SearchSpace:
    """Read and check a space file, by default the shipped one. Keys are checked with their models.

    Raises:
        RequestError: with every problem found.
    """
    file = file or SHIPPED
    data = read_yaml(file)
    try:
        space = SearchSpace.model_validate(data)
    except ValidationError as error:
        known = [*SearchSpace.model_fields, *ModelAxes.model_fields]
        raise RequestError(sentences(error, lambda key: str(file), known)) from None
    if problems := list(dict.fromkeys(_problems(space))):
        raise RequestError([f"{file}: {problem}" for problem in problems])
    return space


def _problems(space: SearchSpace) -> list[str]:
    """What no single value shows."""
    shared = list(space.shared)
    found = [] if shared or space.models else ["holds no axis: list some under `shared`"]
    for dataset, axes in space.datasets.items():
        found += [f"datasets.{dataset}: {_no_axis(axis, shared)}" for axis in axes if axis not in shared]
    found += [f"keys: {_no_axis(axis, shared)}" for axis in space.keys if axis not in shared]
    for model, axes in space.models.items():
        place = f"models.{model}"
        found += [f"{place}.keys: {_no_axis(axis, shared)}" for axis in axes.keys if axis not in shared]
        found += [f"{place}.own: {axis} is shared already" for axis in axes.own if axis in shared]
        if len(axes.own) > MOST_OWN:
            found.append(
                f"{place}.own: {len(axes.own)} axes, and the protocol allows {MOST_OWN}: "
                f"{', '.join(axes.own)}"
            )
        found += [f"{place}: {problem}" for problem in _key_problems(space, axes)]
    found += _key_problems(space, ModelAxes())
    lists = [space.shared, *space.datasets.values(), *(axes.own for axes in space.models.values())]
    found += [problem for axes in lists for problem in _unfit(space, axes)]
    for name, keys in space.schedules.items():
        found += [
            f"schedules.{name}: {key} is no key of the fit loop.{nearest(key, FIT_KEYS)}"
            for key in keys
            if key not in FIT_KEYS
        ]
        found += [f"schedules.{name}: {problem}" for key in keys if (problem := _refusal(key))]
    return found


def _key_problems(space: SearchSpace, axes: ModelAxes) -> Iterator[str]:
    """Keys behind the axes of a model that no comparison can vary, or that two axes set."""
    setters: dict[str, list[str]] = {}
    for axis in (*space.shared, *axes.own):
        if axis == SCHEDULE:
            keys = list(dict.fromkeys(key for settings in space.schedules.values() for key in settings))
        else:
            keys = _listed(axes.keys.get(axis, space.keys.get(axis, axis)) or [])
            yield from (f"keys: {axis}: {said}" for key in keys if key != axis and (said := _refusal(key)))
        for key in keys:
            setters.setdefault(key, []).append(axis)
    for key, names in setters.items():
        if len(names) > 1:
            yield f"{' and '.join(names)} both set {key}: leave one out, or rename its key"


def _unfit(space: SearchSpace, axes: dict[str, list[Any]]) -> list[str]:
    """Axes that no comparison can vary, values that stand twice, and schedules that are not described."""
    found = [problem for axis in axes if (problem := _refusal(axis))]
    found += [
        f"{axis}: a value stands twice in {values}"
        for axis, values in axes.items()
        if len({repr(value) for value in values}) < len(values)
    ]
    return found + [
        f"{SCHEDULE}: {value!r} is not under `schedules`.{nearest(str(value), space.schedules)}"
        for value in axes.get(SCHEDULE, ())
        if not isinstance(value, str) or value not in space.schedules
    ]


def _refusal(key: str) -> str | None:
    """Why no comparison can vary a key; None where it can."""
    if key in NOT_SWEPT:
        return f"{key} cannot be searched: {NOT_SWEPT[key]}"
    if key in SAME_FOR_ALL:
        return f"{key} is the same for all models (--set {key}=...)"
    if key in DATASET_KEYS:
        return f"{key} decides what the data is, the same for all models"
    return "seed cannot be searched: final seeds are 1 to K" if key == "seed" else None


def _no_axis(axis: str, shared: Collection[str]) -> str:
    return f"{axis} is no shared axis.{nearest(axis, shared)}"


def _listed(keys: str | list[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys)
