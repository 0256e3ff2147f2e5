"""Base < expid < dataset < --set: one flat table of settings, each remembering where it was written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fuxictr_qnn.config.sources import Entry
from fuxictr_qnn.errors import RequestError, shown
from fuxictr_qnn.yaml_files import parse_yaml


@dataclass(frozen=True)
class Setting:
    """A value and the place that set it, as messages name it.

    Attributes:
        from_set: set over the files, by the command line or a sweep, and so stronger than they are.
    """

    value: Any
    origin: str
    from_set: bool = False


Settings = dict[str, Setting]


def layers_of(entry: Entry) -> list[tuple[str, Mapping[str, Any]]]:
    """The layers of an expid or dataset, weakest first, each with the name of its place."""
    base = [(f"{entry.base_file}, Base", entry.base)] if entry.base else []
    return [*base, (f"{entry.file}, {entry.name}", entry.values)]


def merge(layers: Iterable[tuple[str, Mapping[str, Any]]]) -> Settings:
    """One table from several; a later layer wins key by key, as in FuxiCTR."""
    return {str(key): Setting(value, origin) for origin, layer in layers for key, value in layer.items()}


def parse_overrides(texts: Iterable[str], problems: list[str]) -> list[tuple[str, Any]]:
    """`KEY=VALUE` texts as pairs, the value read as YAML; every wrong one is left out and a problem."""
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            problems.append(f"--set {text}: expected KEY=VALUE, as in --set learning_rate=1e-3")
            continue
        try:
            pairs.append((key.strip(), parse_yaml(value, f"--set {text}")))
        except RequestError as error:
            problems += error.problems
    return pairs


def override(
    settings: Settings,
    pairs: Iterable[tuple[str, Any]],
    problems: list[str],
    place: Callable[[str], str] = "--set {}".format,
) -> Settings:
    """The settings with --set applied; a dotted key changes one entry of a mapping.

    One that would go into anything else is left out, and one more problem.

    Args:
        place: key -> what messages call the place that sets it.
    """
    changed = dict(settings)
    for dotted, value in pairs:
        key, *inner = dotted.split(".")
        if inner:
            old = changed[key].value if key in changed else {}
            try:
                value = _with_entry(old, inner, value)
            except ValueError as error:
                if (problem := f"{place(dotted)}: {error}") not in problems:
                    problems.append(problem)
                continue
        changed[key] = Setting(value, place(dotted), from_set=True)
    return changed


def _with_entry(mapping: Any, path: list[str], value: Any) -> dict[str, Any]:
    if not isinstance(mapping or {}, dict):
        raise ValueError(f"'{path[0]}' would be set inside {shown(mapping)}, which is no mapping")
    outer = copy.copy(mapping or {})
    name, *rest = path
    outer[name] = _with_entry(outer.get(name), rest, value) if rest else value
    return outer
