"""The pictures of a table of results. Needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.drawing import (
    WIDTH,
    about_grey,
    about_left_out,
    briefly_named,
    coloured,
    far_behind,
    handles_of,
    legend,
    legend_rows,
    log_scale,
    new_figure,
    ranked_of,
    styles,
)
from fuxictr_qnn.reporting.effects import draw_effect, lines_of_legend, one_key_apart
from fuxictr_qnn.reporting.entries import AUC_OF, Entry, shown_split
from fuxictr_qnn.reporting.labels import place_labels
from fuxictr_qnn.reporting.theme import light, themed
from fuxictr_qnn.training.calibration import reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERED = 24  # entries beyond these have no number in a plot
PANELS = 6
POINTER = "\N{BLACK LEFT-POINTING SMALL TRIANGLE}"
BELOW = " \N{BLACK DOWN-POINTING SMALL TRIANGLE}"


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its file, and what a reader must know to read it."""

    name: str
    title: str
    caption: str
    figure: Figure


def has_matplotlib() -> bool:
    return find_spec("matplotlib") is not None


def require_matplotlib() -> None:
    """RequestError unless matplotlib is installed."""
    if not has_matplotlib():
        raise RequestError("plots need matplotlib: pip install 'fuxictr-qnn[plot]'")


def pictures(entries: Sequence[Entry]) -> list[Picture]:
    """Every picture that these entries have something for; they come best first."""
    require_matplotlib()
    entries, drawn = briefly_named(entries), []
    with themed():
        for draw in (seed_strips, training_curves, cost, effects, calibration):
            picture = draw(entries)
            if picture is not None:
                drawn.append(picture)
    return drawn


def seed_strips(entries: Sequence[Entry]) -> Picture | None:
    """A row an entry, a dot a seed."""
    split = shown_split(entries)
    scored = [entry for entry in entries if entry.values(split, "AUC")]
    if not scored:
        return None
    figure = new_figure(WIDTH, 0.9 + 0.26 * len(scored))
    axis, begin = figure.subplots(), far_behind([entry.values(split, "AUC") for entry in scored])
    for row, (entry, (colour, marker)) in enumerate(zip(scored, styles(scored), strict=True)):
        values = entry.values(split, "AUC")
        axis.plot([min(values), max(values)], [row, row], color=colour, linewidth=1)
        axis.plot(values, [row] * len(values), marker, color=colour, markersize=5, alpha=0.8)
        axis.plot([np.mean(values)], [row], "|", color=light("ink"), markersize=14)
        if begin is not None and min(values) < begin:
            _point_left(axis, row, min(values), colour)
    if begin is not None:
        best = max(max(entry.values(split, "AUC")) for entry in scored)
        axis.set_xlim(begin - 0.2 * (best - begin), best + 0.05 * (best - begin))
    axis.set_yticks(range(len(scored)), [entry.label for entry in scored])
    axis.tick_params(axis="y", labelcolor=light("ink"), length=0)
    axis.set_ylim(len(scored) - 0.4, -0.6)
    axis.set_xlabel(AUC_OF[split])
    axis.locator_params(axis="x", nbins=6)
    axis.grid(visible=False, axis="y")
    caption = f"A dot is a seed's {AUC_OF[split]}, the upright line their mean.{about_grey(scored)}"
    if begin is not None:
        caption += f" {POINTER} What is out of view."
    return Picture("seeds", "Seeds", caption, figure)


def _point_left(axis: Axes, row: int, value: float, colour: str) -> None:
    """The value of a seed that is out of view."""
    axis.annotate(
        f"{POINTER} {value:.3f}",
        (0, row),
        xycoords=axis.get_yaxis_transform(),
        xytext=(2, 1),
        textcoords="offset points",
        verticalalignment="bottom",
        fontsize=7.5,
        color=colour,
    )


def training_curves(entries: Sequence[Entry]) -> Picture | None:
    """Validation AUC and logloss by epoch."""
    metrics = [
        name
        for name in ("AUC", "logloss")
        if any(name in line for entry in entries for run in entry.runs for line in run.history)
    ]
    if not metrics:
        return None
    figure = new_figure(WIDTH, 3.4 + 0.2 * legend_rows(coloured(entries)))
    for axis, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        _draw_curves(axis, entries, metric)
        axis.set_title(f"validation {metric}")
    legend(figure, entries)
    caption = (
        "A line is a seed; dots: the learning rate is cut there. First epochs, and models far behind, may be "
        f"out of view.{about_grey(entries)}"
    )
    return Picture("curves", "Training", caption, figure)


def curves_by_dataset(tables: Mapping[str, Sequence[Entry]]) -> Figure:
    """Validation AUC by epoch, a panel with a legend of its own for each dataset."""
    require_matplotlib()
    with themed():
        figure = new_figure(5.5 * len(tables), 4)
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for axis, (dataset_id, entries) in zip(axes, tables.items(), strict=True):
            _draw_curves(axis, entries, "AUC")
            axis.set(title=dataset_id, ylabel="validation AUC")
            axis.legend(handles=handles_of(briefly_named(entries)), loc="lower right")
    return figure


def _draw_curves(axis: Axes, entries: Sequence[Entry], metric: str) -> None:
    """A line a seed, the first entries on top; dots where the learning rate is cut."""
    first = coloured(entries)
    for entry, (colour, _) in reversed(list(zip(entries, styles(entries), strict=True))):
        for lines in _histories(entry, metric):
            x, y = _epochs(lines), [line[metric] for line in lines]
            dot = "." if len(x) == 1 else None
            axis.plot(x, y, color=colour, alpha=0.8, linewidth=1.3 if entry in first else 0.7, marker=dot)
            cuts = [i for i, line in enumerate(lines) if line.get("lr_cut")]
            axis.plot([x[i] for i in cuts], [y[i] for i in cuts], "o", color=colour, markersize=3)
    axis.set(xlabel="epoch", ylim=_window_of(entries, metric))
    low, high = axis.dataLim.intervalx
    if low == high:  # one evaluation
        axis.set_xticks([low])
    else:
        axis.locator_params(axis="x", integer=True)


def _histories(entry: Entry, metric: str) -> list[list[dict[str, Any]]]:
    """Of each seed the evaluations that have the metric."""
    found = [[line for line in run.history if metric in line] for run in entry.runs]
    return [lines for lines in found if lines]


def _window_of(entries: Sequence[Entry], metric: str) -> tuple[float, float]:
    """Limits that show what each run reaches that is not far behind, and most of the way there."""
    sign = 1 if metric == "AUC" else -1
    curves = [[[sign * line[metric] for line in lines] for lines in _histories(e, metric)] for e in entries]
    ends = [[max(values) for values in seeds] for seeds in curves if seeds]
    begin = far_behind(ends)
    near = [seeds for seeds in curves if seeds and (begin is None or max(map(max, seeds)) >= begin)]
    reached = [end for seeds in ends for end in seeds if begin is None or end >= begin]
    values = [value for seeds in near for run in seeds for value in run]
    low, high = min([np.quantile(values, 0.15), *reached]), max(values)
    margin = 0.08 * (high - low) or 0.001
    return min(edges := (sign * (low - margin), sign * (high + margin))), max(edges)


def cost(entries: Sequence[Entry]) -> Picture | None:
    """AUC against parameters, and against latency where it was measured."""
    split = shown_split(entries)
    scored = [entry for entry in entries if entry.values(split, "AUC")]
    axes = {"parameters": "parameters", "latency_ms_per_100_rows": "ms for 100 rows"}
    known = [name for name in axes if any(entry.mean(name) for entry in scored)]
    if len(scored) < 2 or not known:
        return None
    figure = new_figure(WIDTH, 3.6 + 0.2 * legend_rows(scored[:NUMBERED]))
    begin = far_behind([[entry.spread(split, "AUC").mean] for entry in scored])
    drawn = []
    for axis, name in zip(figure.subplots(1, len(known), squeeze=False)[0], known, strict=True):
        drawn.append((axis, _draw_cost(axis, scored, name, split, begin)))
        log_scale(axis, axes[name])
        axis.set_ylabel(AUC_OF[split])
        axis.margins(x=0.1, y=0.12)
    legend(figure, scored, numbered=NUMBERED)
    for axis, points in drawn:  # when the legend has taken its room: labels know how large the axis is
        place_labels(axis, points)
    caption = (
        f"Mean {AUC_OF[split]} over the seeds; bars: standard deviation. Numbers: the order of the table."
    )
    caption += about_grey(scored)
    if begin is not None:
        caption += f" Hollow,{BELOW}: the AUC is below the picture."
    return Picture("cost", "AUC against cost", caption, figure)


def _draw_cost(
    axis: Axes, entries: Sequence[Entry], name: str, split: str, begin: float | None
) -> list[tuple[float, float, str]]:
    """Points and their names; those below `begin` stand at the lower edge."""
    shown = [
        (entry.mean(name), entry.spread(split, "AUC"), *style, str(rank) if rank <= NUMBERED else "")
        for rank, (entry, style) in enumerate(zip(entries, styles(entries), strict=True), start=1)
        if entry.mean(name)
    ]
    near = [spread for _, spread, *_ in shown if begin is None or spread.mean >= begin]
    top = max((spread.mean + (spread.sd or 0) for spread in near), default=1.0)
    floor = min((spread.mean - (spread.sd or 0) for spread in near), default=0.0)
    points = []
    for x, spread, colour, marker, number in shown:
        look, y = {"color": colour, "markersize": 5, "linewidth": 1}, spread.mean
        if spread in near:
            axis.errorbar(x, y, spread.sd or 0, fmt=marker, **look)
        else:
            y, number = floor - 0.15 * (top - floor), number and number + BELOW
            axis.plot(x, y, marker, markerfacecolor="none", **look)
        points.append((x, y, number))
    if len(near) < len(shown):
        axis.set_ylim(floor - 0.35 * (top - floor), top + 0.08 * (top - floor))  # numbers may be moved down
    return [point for point in points if point[2]]


def effects(entries: Sequence[Entry]) -> Picture | None:
    """AUC by a setting, among ranked entries that are equal in all others."""
    found = dict(list(one_key_apart(ranked_of(entries)))[:PANELS])
    if not found:
        return None
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    lines = max(lines_of_legend(key, groups) for key, groups in found.items())
    figure = new_figure(WIDTH, (2.7 + 0.16 * lines) * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (key, groups) in zip(axes, found.items(), strict=False):
        draw_effect(axis, key, groups)
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    caption = "Equal in all settings but one; bars: standard deviation."
    return Picture("effects", "Effect of one setting", caption, figure)


def calibration(entries: Sequence[Entry]) -> Picture | None:
    """Observed less predicted click rate, in bins of equally many rows."""
    first = coloured(entries)
    figure = new_figure(WIDTH, 3.4 + 0.2 * legend_rows(first))
    axis, drawn = figure.subplots(), []
    for entry, (colour, marker) in zip(first, styles(first), strict=True):
        scores = [scores for scores in (run.scores() for run in entry.runs) if scores is not None]
        if not scores:
            continue
        labels = np.concatenate([seed.y_true for seed in scores])
        bins = reliability(labels, np.concatenate([seed.y_pred for seed in scores]))
        gap = bins.observed - bins.predicted
        axis.plot(bins.predicted, gap, color=colour, marker=marker, markersize=4)
        drawn.append(entry)
    if not drawn:
        return None
    axis.axhline(0, color=light("soft"), linewidth=1)
    axis.set(xlabel="predicted click probability", ylabel="observed \N{MINUS SIGN} predicted")
    legend(figure, drawn)
    caption = (
        "Test rows of all seeds in 20 bins of equally many; above 0 the model expects too few clicks."
        f"{about_left_out(entries)}"
    )
    return Picture("calibration", "Calibration", caption, figure)


def _epochs(lines: Sequence[dict[str, Any]]) -> list[float]:
    """When each evaluation was, in epochs; the last one is taken to end its epoch."""
    return [line["step"] * lines[-1]["epoch"] / lines[-1]["step"] for line in lines]
