"""Names beside the points of a plot that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fuxictr_qnn.reporting.theme import light

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 10.5  # of a line of text, in points
WIDTH = 5.6  # of a letter, about, with room after the name
GAP = 6.0
MARK = 5.0  # of a point


def place_labels(axis: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write each point's name to its right, moved down where another name or point is in the way.

    A name that would have to go below the axis is left out: a pile of points is no list.

    Args:
        points: x, y and name, in the axis' units.
    """
    axis.figure.draw_without_rendering()  # the transform to the canvas needs the final limits
    scale = 72 / axis.figure.dpi
    bottom = axis.transAxes.transform((0, 0))[1] * scale
    marks = [axis.transData.transform((x, y)) * scale for x, y, _ in points]
    # What is in the way, in points: left, right, middle, and how far from that a name's middle has to be.
    taken = [(x - MARK / 2, x + MARK / 2, y, (HEIGHT + MARK) / 2) for x, y in marks]
    for (x, y, name), (at, height) in sorted(zip(points, marks, strict=True), key=lambda pair: -pair[1][1]):
        left, middle = at + GAP, height
        right = left + WIDTH * len(name)
        for other_left, other_right, other, room in sorted(taken, key=lambda each: -each[2]):
            if left < other_right and other_left < right and abs(middle - other) < room:
                middle = other - room  # from the top down, so one pass is enough
        if middle < min(bottom, height):
            continue
        taken.append((left, right, middle, HEIGHT))
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
