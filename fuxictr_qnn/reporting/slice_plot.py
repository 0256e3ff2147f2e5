"""The picture of a sliced test split. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fuxictr_qnn.reporting.drawing import (
    WIDTH,
    about_left_out,
    coloured,
    legend,
    legend_rows,
    new_figure,
    styles,
)
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.reporting.plots import Picture, require_matplotlib
from fuxictr_qnn.reporting.slices import Sliced
from fuxictr_qnn.reporting.theme import light, themed

LONGEST = 28  # letters of a value's name


def draw_slices(sliced: Sliced, entries: Sequence[Entry]) -> Picture:
    """A row a slice, a dot a seed: predicted over observed clicks on the left, AUC on the right."""
    require_matplotlib()
    names = list(dict.fromkeys((item.kind, item.name) for item in sliced.measured))
    shown = coloured(entries)
    with themed():
        figure = new_figure(WIDTH, 1.2 + 0.26 * len(names) + 0.2 * legend_rows(shown))
        left, right = figure.subplots(1, 2, sharey=True)
        for entry, (colour, marker) in zip(shown, styles(shown), strict=True):
            own = [item for item in sliced.measured if item.label == entry.label]
            rows = [names.index((item.kind, item.name)) for item in own]
            look = {"color": colour, "markersize": 5, "alpha": 0.8}
            for axis, kind in ((left, "predicted_over_observed"), (right, "auc")):
                values = [getattr(item, kind) for item in own]
                found = [(value, row) for value, row in zip(values, rows, strict=True) if np.isfinite(value)]
                axis.plot([value for value, _ in found], [row for _, row in found], marker, **look)
        left.axvline(1, color=light("soft"), linewidth=1)
        left.set(
            xlabel="predicted / observed clicks", yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6)
        )
        left.set_yticklabels([_short(name) for _, name in names])
        left.tick_params(axis="y", labelcolor=light("ink"), length=0)
        right.set_xlabel("test AUC")
        for axis in (left, right):
            axis.grid(visible=False, axis="y")
            axis.locator_params(axis="x", nbins=5)
        legend(figure, shown)
    caption = "A dot is a seed. Right of the line the model expects more clicks than there were."
    caption += about_left_out(entries)
    return Picture(f"slices-{sliced.feature}", f"By {sliced.feature}", caption, figure)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
