"""What pydantic found wrong, in sentences that name the place, the key, the value and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fuxictr_qnn.config.merging import Settings
from fuxictr_qnn.data.spec import ColumnSpec, LabelSpec
from fuxictr_qnn.errors import nearest, shown
from fuxictr_qnn.training.experiment import FeatureChange

Model = TypeVar("Model", bound=BaseModel)

EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "`key: value` pairs",
    "model_type": "`key: value` pairs",
    "none_required": "null",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "finite_number": "a finite number",
    "too_short": "at least {min_length} of them",
    "missing": "this key to be set",
}


def sentences(
    error: ValidationError, origin_of: Callable[[str], str], known: Iterable[str] = (), key: str = ""
) -> list[str]:
    """One sentence a wrong key. `known` holds the names that an unknown key may have meant.

    `key` is what the whole value is called, where it is not an object with keys of its own.

    The branches of a union (text or a number) fail one by one; they become one sentence. Where one
    branch fails inside the value, as with {AUC: x}, it was meant, and the others say nothing.
    """
    expected: dict[tuple[str, str], list[str]] = {}
    items = error.errors(include_url=False)
    if not key and all(not item["loc"] and item["type"] == "value_error" for item in items):
        return [_together(item, origin_of) for item in items]  # each key is right by itself
    paths = [_path((key, *item["loc"]) if key else item["loc"]) for item in items]
    for item, path in zip(items, paths, strict=True):
        if any(len(other) > len(path) and other[: len(path)] == path for other in paths):
            continue
        key, *inner = path
        field = ".".join([key, *(part for part in inner if not part.isdigit())])
        value = "" if item["type"] == "missing" else f" = {shown(item['input'])}"
        words = expected.setdefault((key, f"{field}{value}"), [])
        if item["type"] == "extra_forbidden":
            words.append(f"unknown key.{nearest(inner[-1] if inner else key, known) or _listed(known)}")
        else:
            words.append("expected " + _expectation(item))
    return [
        f"{origin_of(key)}: {field}: {' or '.join(dict.fromkeys(words)).replace(' or expected ', ' or ')}"
        for (key, field), words in expected.items()
    ]


def _together(item: Any, origin_of: Callable[[str], str]) -> str:
    """A sentence about several keys of an object, with the places of those that it names."""
    said = _expectation(item)
    named = [word for word in re.findall(r"\w+", said) if word in item["input"]] or [""]
    return f"{', '.join(dict.fromkeys(map(origin_of, named)))}: {said}"


_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})


def _listed(known: Iterable[str]) -> str:
    """` Known: a, b`, where they are few."""
    names = list(known)
    return f" Known: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def _path(loc: tuple[int | str, ...]) -> list[str]:
    """Where in the config a value stands: pydantic's place without the names of union branches."""
    parts = [str(part) for part in loc]
    return [part for part in parts if part not in _TYPE_NAMES and "[" not in part] or ["value"]


def _expectation(item: Any) -> str:
    template = EXPECTED.get(item["type"])
    if template is None:
        return item["msg"].removeprefix("Value error, ")
    return template.format(**item.get("ctx", {}))


def validated(model: type[Model], settings: Settings, problems: list[str], **fixed: Any) -> Model | None:
    """The settings as one object of `model`; None, and sentences added to `problems`, if one is wrong."""
    try:
        return model(**{key: setting.value for key, setting in settings.items()}, **fixed)
    except ValidationError as error:
        origins = {key: setting.origin for key, setting in settings.items()}
        place = next(iter(origins.values()), "config")
        problems += sentences(error, lambda key: origins.get(key, place), _all_fields(model))
        return None


def _all_fields(model: type[BaseModel]) -> list[str]:
    nested = {
        "feature_cols": ColumnSpec.model_fields,
        "label_col": LabelSpec.model_fields,
        "feature_specs": FeatureChange.__annotations__,
    }
    return [
        *model.model_fields,
        *(name for key in nested if key in model.model_fields for name in nested[key]),
    ]
