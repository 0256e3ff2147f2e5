"""The model's part of a config: what its constructor, and those of its bases, accept."""

from __future__ import annotations

import inspect
import json
import typing
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from fuxictr_qnn import grammar
from fuxictr_qnn.config.checks import apply_rule
from fuxictr_qnn.config.keys import DATASET_KEYS, FEATURE_KEYS, FIT_KEYS, ONLY_OFF, OTHER_KEYS
from fuxictr_qnn.config.merging import Setting, Settings
from fuxictr_qnn.config.problems import sentences
from fuxictr_qnn.errors import nearest, shown
from fuxictr_qnn.models.registry import constructor_keys, is_own, parameters_of

GIVEN_BY_TRAINING = frozenset({"feature_map", "model_id", "gpu", "model_root", "verbose"})


_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def check_model_params(
    model: str,
    cls: type,
    params: Settings,
    features: Settings,
    problems: list[str],
    notes: list[str],
) -> dict[str, Any]:
    """The keyword arguments for the model's constructor, each checked.

    An unknown key is a problem for our models; a class from elsewhere that takes **kwargs gets it,
    with a note, because it may read it.
    """
    accepted, takes_any = constructor_keys(cls)
    accepted -= GIVEN_BY_TRAINING
    lenient = takes_any and not is_own(cls)
    unknown = [key for key in params if key not in accepted]
    if lenient and unknown:
        notes.append(f"{model} names no parameter {', '.join(unknown)}; passed on as it is")
    for key in [] if lenient else unknown:
        place = f"{params[key].origin}: {key} = {shown(params[key].value)}"
        problems.append(f"{place}: {unknown_key(key, model, accepted)}")
    checked = {
        key: _checked_value(_expected_type(cls, key, is_own(cls)), key, setting, problems)
        for key, setting in params.items()
        if lenient or key in accepted
    }
    if "embedding_dim" in accepted:
        checked["embedding_dim"] = _embedding_dim(cls, features)
        if is_own(cls) and checked["embedding_dim"] is None:
            origin = features["embedding_dim"].origin
            problems.append(f"{origin}: embedding_dim = None: expected a whole number")
    return checked


def _embedding_dim(cls: type, features: Settings) -> Any:
    """The model's embedding_dim; where no config sets it, its default, which the feature map needs, too."""
    if "embedding_dim" not in features:
        default = _parameter(cls, "embedding_dim")[1].default
        value = None if default is inspect.Parameter.empty else default
        features["embedding_dim"] = Setting(value, f"default of {cls.__name__}")
    return features["embedding_dim"].value


def unknown_key(key: str, model: str, accepted: set[str]) -> str:
    """Why a key is none, with the nearest of those that are; `accepted` are the model's."""
    if key in ONLY_OFF:
        return f"nothing here has it: remove it, or set it to null; {ONLY_OFF[key]}"
    known = accepted | FIT_KEYS | DATASET_KEYS | FEATURE_KEYS | OTHER_KEYS
    return f"{model} has no such key, nor has the fit loop or the dataset.{nearest(key, known)}"


def _checked_value(expected: Any, key: str, setting: Setting, problems: list[str]) -> Any:
    rule = grammar.rule_for(key)
    if rule:
        return apply_rule(rule, f"{setting.origin}: {key}", setting.value, problems)
    if expected is None:
        return setting.value
    # read strictly, but as JSON: a list may stand for a tuple, true for no number
    text = json.dumps(setting.value, default=str, skipkeys=True)
    try:
        return TypeAdapter(expected, config=_STRICT).validate_json(text)
    except ValidationError as error:
        problems += sentences(error, lambda _: setting.origin, key=key)
        return setting.value


def _expected_type(cls: type, key: str, own: bool) -> Any:
    """The type of a constructor's parameter: its annotation, else that of its default.

    A default tells where it is a number, or in our models a list: `hidden_units: [400, 400]` in a tuner file
    is twice the value 400. Elsewhere than in our models, `dropout=0` may well mean any number.
    """
    init, parameter = _parameter(cls, key)
    if parameter is None:
        return None
    by_default = type(parameter.default) if isinstance(parameter.default, (bool, int, float)) else None
    if by_default is int and not own:
        by_default = float | int
    if own and isinstance(parameter.default, (list, tuple)):
        by_default = list | None
    return _annotation(init, key) or by_default


def _parameter(cls: type, key: str) -> tuple[Any, inspect.Parameter | None]:
    """The constructor that names `key`, and its parameter; the first class in the MRO that has it."""
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        parameters = parameters_of(init) if inspect.isfunction(init) else {}
        if key in parameters:
            return init, parameters[key]
    return None, None


@lru_cache(maxsize=1024)
def _annotation(init: Any, key: str) -> Any:
    try:
        return typing.get_type_hints(init).get(key)
    except (NameError, TypeError):  # an annotation that exists only for type checkers
        return None
