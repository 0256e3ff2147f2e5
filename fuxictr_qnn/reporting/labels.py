"""Names beside the points of a plot that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fuxictr_qnn.reporting.theme import light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 10.5  # of a line of text, in points
WIDTH = 4.6  # of a letter, about
GAP = 6.0


def place_labels(axis: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write each point's name to its right, moved down where another name is in the way.

    A name that would have to go below the axis is left out: a pile of points is no list.

    Args:
        points: x, y and name, in the axis' units.
    """
    axis.figure.draw_without_rendering()  # the transform to the canvas needs the final limits
    scale = 72 / axis.figure.dpi
    bottom = axis.transAxes.transform((0, 0))[1] * scale
    placed: list[tuple[float, float, float]] = []  # left, right and middle of the names so far, in points
    for x, y, name in sorted(points, key=lambda point: -point[1]):
        left, height = axis.transData.transform((x, y)) * scale
        left += GAP
        right, middle = left + WIDTH * len(name), height
        for other_left, other_right, other in placed:  # from the top down, so one pass is enough
            if left < other_right and other_left < right and abs(middle - other) < HEIGHT:
                middle = other - HEIGHT
        if middle < min(bottom, height):
            continue
        placed.append((left, right, middle))
        placed.sort(key=lambda item: -item[2])
        moved = abs(middle - height) > HEIGHT / 2
        line = {"arrowstyle": "-", "color": light("soft"), "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
        axis.annotate(
            name,
            (x, y),
            xytext=(GAP, middle - height),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
            color=light("ink"),
            annotation_clip=False,
            arrowprops=line | {"relpos": (0, 0.5)} if moved else None,
        )
