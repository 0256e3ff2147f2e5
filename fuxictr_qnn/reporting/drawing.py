"""What the pictures share: sizes, colours, legends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, repeat
from statistics import median
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.reporting.entries import Entry, fewest_keys, varying_keys, with_unusual
from fuxictr_qnn.reporting.theme import MARKERS, SERIES, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLOURED = len(SERIES)  # entries beyond these, and outside the ranking, are drawn in one soft colour
FAR = 4  # times as far behind the best as the median is: no reason to flatten the rest
SQUEEZED = 4  # an axis for all of them leaves those in view less than this part of it: a quarter
WIDTH = 7.6  # of a picture, in inches
LEAST_SPAN = 0.002  # of a metric, so that 0.0001 AUC does not look like a difference
LETTERS = 48  # of a name beside a picture
LEGEND_LETTERS = 108  # in a row of a legend, with room for the marks
MARKS = {12: (1, 1.5, 2, 3, 5, 7), 200: (1, 2, 5), 1e4: (1, 3), math.inf: (1,)}  # largest ratio: marks


def new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def far_behind(values: Sequence[Sequence[float]]) -> float | None:
    """The lowest value that an axis has to show where a few entries far behind would flatten the rest.

    None: all of them fit. The entries in view are at most FAR times as far behind the best as the median is.

    Args:
        values: higher is better; of each entry one or several.
    """
    means = [sum(own) / len(own) for own in values]
    best = max(means)
    reach = best - FAR * (best - median(means))
    begin = min(min(own) for own, mean in zip(values, means, strict=True) if mean >= reach)
    lowest = min(min(own) for own in values)
    squeezed = 0 < SQUEEZED * (best - begin) < best - lowest  # 0: those in view are equal
    return begin if squeezed else None


def show_least_span(axis: Axes) -> None:
    """Let the vertical axis span LEAST_SPAN of its middle at least, about the same middle."""
    low, high = axis.get_ylim()
    middle = (low + high) / 2
    half = max(high - low, LEAST_SPAN * abs(middle)) / 2
    axis.set_ylim(middle - half, middle + half)


def briefly_named(entries: Sequence[Entry]) -> list[Entry]:
    """With labels that have room beside a picture.

    A long one keeps the settings only that it takes to tell the entry from others of its expid; where these
    are too long as well, or another's, the hash of its config.
    """
    names = [entry.label if len(entry.label) <= LETTERS else _brief(entry, entries) for entry in entries]
    labels = [
        name if len(name) <= LETTERS and names.count(name) == 1 else _by_hash(entry)
        for name, entry in zip(names, entries, strict=True)
    ]
    return [replace(entry, label=label) for entry, label in zip(entries, labels, strict=True)]


def _brief(entry: Entry, entries: Sequence[Entry]) -> str:
    expid = entry.record.expid
    same = [other.settings for other in entries if other.record.expid == expid]
    return with_unusual(expid, entry.settings, same, fewest_keys(same, varying_keys(same)))


def _by_hash(entry: Entry) -> str:
    digest = f" [{entry.record.config_digest}]"
    return cut(entry.record.expid, LETTERS - len(digest)) + digest


def cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def styles(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Colour and marker of each; the first ones that are ranked have their own."""
    own = series(len(entries))
    soft = light("soft"), "o"
    return [next(own) if is_ranked else soft for is_ranked in _ranked(entries)]


def series(count: int) -> Iterator[tuple[str, str]]:
    """Colours and markers; those that come late share one."""
    yield from islice(zip(map(light, SERIES), MARKERS, strict=True), count)
    yield from repeat((light("soft"), "o"), count - COLOURED)


def _ranked(entries: Sequence[Entry]) -> list[bool]:
    """Recipes are not, unless there is nothing else."""
    return [not entry.recipe or all(other.recipe for other in entries) for entry in entries]


def ranked_of(entries: Sequence[Entry]) -> list[Entry]:
    """Without recipes, unless there is nothing else."""
    return [entry for entry, is_ranked in zip(entries, _ranked(entries), strict=True) if is_ranked]


def coloured(entries: Sequence[Entry]) -> list[Entry]:
    """Those that have a colour of their own."""
    return ranked_of(entries)[:COLOURED]


def about_grey(entries: Sequence[Entry]) -> str:
    """What a caption says of the soft colour."""
    return f" Grey: {others}." if (others := _without_colour(entries)) else ""


def about_left_out(entries: Sequence[Entry]) -> str:
    """What a caption says where only those with a colour are drawn."""
    return f" Not drawn: {others}." if (others := _without_colour(entries)) else ""


def _without_colour(entries: Sequence[Entry]) -> str:
    ranked = ranked_of(entries)
    reasons = {
        f"what comes after the first {COLOURED}": len(ranked) > COLOURED,
        "what is outside the ranking": len(ranked) < len(entries),
    }
    return ", and ".join(reason for reason, holds in reasons.items() if holds)


def legend(figure: Figure, entries: Sequence[Entry], numbered: int = 0) -> None:
    """Below the plots; `numbered`: so many entries have numbers there."""
    handles = handles_of(entries, numbered)
    figure.legend(handles=handles, loc="outside lower left", ncols=legend_columns(_named(entries, numbered)))


def handles_of(entries: Sequence[Entry], numbered: int = 0) -> list[Line2D]:
    """Of a legend; who is not named is counted."""
    from matplotlib.lines import Line2D

    look = {"linestyle": "none"} if numbered else {"marker": "none", "linewidth": 2}
    named = _named(entries, numbered)
    handles = []
    for rank, (entry, (colour, marker)) in enumerate(zip(entries, styles(entries), strict=True), start=1):
        if entry in named:
            name = f"{rank} {entry.label}" if numbered else entry.label
            handles.append(Line2D([], [], color=colour, label=name, **({"marker": marker} | look)))
    if len(entries) > len(named):
        count = len(entries) - len(named)
        others = f"{count} other{'s' * (count > 1)}"
        handles.append(Line2D([], [], color=light("soft"), linewidth=1, label=others))
    return handles


def _named(entries: Sequence[Entry], numbered: int) -> Sequence[Entry]:
    """In a legend: so many with their numbers, or those that have a colour."""
    return entries[:numbered] if numbered else coloured(entries)


def legend_columns(entries: Sequence[Entry]) -> int:
    longest = max(len(entry.label) for entry in entries)
    return max(1, min(4, LEGEND_LETTERS // (longest + 10)))


def legend_rows(entries: Sequence[Entry]) -> int:
    return -(-len(entries) // legend_columns(entries))


def log_scale(axis: Axes, name: str) -> None:
    """Along x."""
    from matplotlib.ticker import LogLocator, NullLocator

    class Marks(LogLocator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            self.set_params(subs=marks_of_a_decade(vmax / vmin))
            return super().tick_values(vmin, vmax)

    axis.set(xscale="log", xlabel=name)
    axis.xaxis.set_major_locator(Marks())
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: short(value))


def marks_of_a_decade(ratio: float) -> tuple[float, ...]:
    """So many that the marks of an axis from 1 to `ratio` do not run into each other."""
    return next(marks for most, marks in MARKS.items() if ratio <= most)


def short(value: float) -> str:
    """A mark of an axis: 1500000 is 1.5M, 0.5 stays as it is."""
    unit, letter = next(((u, x) for u, x in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= u), (1, ""))
    return f"{value / unit:g}{letter}"
