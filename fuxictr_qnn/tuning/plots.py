"""Pictures of a sweep: the monitored metric against each parameter."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.files import write_bytes
from fuxictr_qnn.reporting.drawing import new_figure, show_least_span
from fuxictr_qnn.reporting.plots import has_matplotlib
from fuxictr_qnn.reporting.theme import as_png, light, themed
from fuxictr_qnn.tuning.space import value_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fuxictr_qnn.tuning.sweep import Row, Sweep


def draw_axes(sweep: Sweep) -> list[str]:
    """plots/<key>.png for each axis of which two values are done; returns the names of the files.

    Those of an earlier space go.
    """
    rows, folder = sweep.done, sweep.store.folder / "plots"
    if not has_matplotlib():
        return []
    drawn = []
    for key in sweep.space.axes:
        values = _in_order([row.trial.values[key] for row in rows])
        if len(values) > 1:
            with themed():
                picture = as_png(_figure(sweep, rows, key, values))
            write_bytes(folder / f"{key}.png", picture)
            drawn.append(f"{key}.png")
    for file in folder.glob("*.png"):
        if file.name not in drawn:
            file.unlink()
    return drawn


def _in_order(values: list[Any]) -> list[Any]:
    """Each value once: numbers by size, others as the trials come."""
    distinct = list({repr(value): value for value in values}.values())
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in distinct)
    return sorted(distinct) if numbers else sorted(distinct, key=value_text)


def _figure(sweep: Sweep, rows: list[Row], key: str, values: list[Any]) -> Figure:
    """A dot a trial over the values of one axis, and a line through the medians; `rows`, the best first."""
    groups = [
        [row.standing.value for row in rows if repr(row.trial.values[key]) == repr(value)] for value in values
    ]
    figure = new_figure(max(4.0, 1.5 + 0.6 * len(values)), 3.6)
    axis, places = figure.subplots(), range(len(values))
    if any(len(group) > 1 for group in groups):
        axis.plot(places, [statistics.median(group) for group in groups], color=light("soft"), label="median")
    for place, group in enumerate(groups):
        axis.scatter([place] * len(group), group, s=26, color=light("s1"), alpha=0.75, linewidths=0)
    best = rows[0]
    place = next(place for place, value in enumerate(values) if repr(value) == repr(best.trial.values[key]))
    axis.scatter([place], [best.standing.value], s=48, color=light("s2"), label="best trial", zorder=3)
    labels = [value_text(value) for value in values]
    turned = max(map(len, labels)) > 8 and len(labels) > 4
    axis.set_xticks(list(places), labels, rotation=45 if turned else 0, ha="right" if turned else "center")
    axis.set(xlabel=key, ylabel=f"valid {sweep.space.monitor}", xlim=(-0.5, len(values) - 0.5))
    show_least_span(axis)
    axis.grid(False, axis="x")
    figure.legend(loc="outside upper right", ncols=2)
    return figure
