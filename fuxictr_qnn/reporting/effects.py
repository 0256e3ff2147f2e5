"""The effect of one setting: entries that differ in nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.reporting.drawing import series, show_least_span
from fuxictr_qnn.reporting.entries import (
    AUC_OF,
    UNSET,
    Entry,
    fewest_keys,
    shown,
    shown_split,
    varying_keys,
)
from fuxictr_qnn.reporting.theme import light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CROWD = 8  # more values are written upright, more groups in one colour and without a name
LETTERS = 44  # of a line in the legend of a small plot
AXIS_LETTERS = 40  # below a small plot
NAMES = {"num_row": "M: rows of the product", "num_heads": "H: heads", "num_layers": "L: layers"}


def one_key_apart(entries: Sequence[Entry]) -> Iterator[tuple[str, list[list[Entry]]]]:
    """Key -> groups of entries that differ in it only; rows, heads and layers first."""
    split = shown_split(entries)
    scored = [entry for entry in entries if entry.values(split, "AUC")]
    keys = dict.fromkeys([*NAMES, *(key for entry in scored for key in entry.settings if key != "model")])
    for key in keys:
        groups = defaultdict(list)
        for entry in scored:
            rest = {name: value for name, value in entry.settings.items() if name != key}
            groups[json.dumps(rest, sort_keys=True)].append(entry)
        several = [group for group in groups.values() if varying_keys([e.settings for e in group]) == [key]]
        if several:
            yield key, several


def draw_effect(axis: Axes, key: str, groups: Sequence[Sequence[Entry]]) -> None:
    values = [entry.settings.get(key, UNSET) for group in groups for entry in group]
    split = shown_split(entry for group in groups for entry in group)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    numeric = numbers and _have_room(sorted(set(values)))
    places: dict[str, int] = {}
    if not numeric:
        ordered = sorted(values) if numbers else values
        places = {value: place for place, value in enumerate(dict.fromkeys(map(json.dumps, ordered)))}
        axis.set_xticks(list(places.values()), [shown(json.loads(value)) for value in places])
        axis.tick_params(axis="x", labelrotation=90 if len(places) > CROWD else 0)
        axis.margins(x=0.02 if len(places) > CROWD else 0.2)
    crowded = len(groups) > CROWD
    looks = series(len(groups))
    for group, name, (colour, marker) in zip(groups, _names(groups, key), looks, strict=True):
        points = []
        for entry in group:
            value, spread = entry.settings.get(key, UNSET), entry.spread(split, "AUC")
            points.append((value if numeric else places[json.dumps(value)], spread.mean, spread.sd or 0))
        x, y, sd = zip(*sorted(points), strict=True)
        line = "-" if numbers or crowded else "none"
        colour, marker = (light("soft"), "o") if crowded else (colour, marker)
        axis.errorbar(
            x, y, sd, color=colour, marker=marker, markersize=5, linestyle=line, elinewidth=1, label=name
        )
    if numeric and len(set(values)) <= CROWD:
        axis.set_xticks(sorted(set(values)), [shown(value) for value in sorted(set(values))])
        axis.minorticks_off()
    axis.set(title=NAMES.get(key, key), ylabel=AUC_OF[split])
    show_least_span(axis)
    if 1 < len(groups) <= CROWD:
        axis.legend(
            loc="upper left", bbox_to_anchor=(-0.1, -0.22 if len(places) > CROWD else -0.12), fontsize=7.5
        )


def _have_room(values: Sequence[float]) -> bool:
    """Whether the marks of an axis fit beside each other in proportion: 0.001, 0.01 and 0.1 do not."""
    if not 1 < len(values) <= CROWD:
        return True
    scale = AXIS_LETTERS / (values[-1] - values[0])
    return all(
        (after - before) * scale > (len(shown(before)) + len(shown(after)) + 1) / 2
        for before, after in pairwise(values)
    )


def lines_of_legend(key: str, groups: Sequence[Sequence[Entry]]) -> int:
    named = _names(groups, key) if 1 < len(groups) <= CROWD else []
    return sum(name.count("\n") + 1 for name in named)


def _names(groups: Sequence[Sequence[Entry]], key: str) -> list[str]:
    """What tells each group from the others: its expid, or settings, on as many lines as they take."""
    expids = [{entry.record.expid for entry in group} for group in groups]
    if all(len(names) == 1 for names in expids) and len(set.union(*expids)) == len(groups):
        return [next(iter(names)) for names in expids]
    firsts = [group[0].settings for group in groups]
    keys = [name for name in varying_keys(firsts) if name != key]
    few = fewest_keys(firsts, keys, [name for name in keys if name == "model"])
    return [_settings(settings, few) for settings in firsts]


def _settings(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """What a model has not, or leaves to its constructor, goes without saying."""
    values = {name: shown(settings[name]) for name in keys if name in settings}
    text = ", ".join(value if name == "model" else f"{name}={value}" for name, value in values.items())
    return fill(text, LETTERS, break_long_words=False, break_on_hyphens=False) or UNSET
