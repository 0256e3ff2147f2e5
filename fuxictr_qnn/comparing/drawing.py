"""The points that all models try: each axis balanced, and more points never change the first ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from fuxictr_qnn.tuning.space import Space, Values
from fuxictr_qnn.tuning.tuner_file import Tuner

SEED = 1  # with it the first four points of the shipped space have every pair of batch norm and schedule


def draw(axes: Mapping[str, Sequence[Any]], count: int) -> list[Values]:
    """So many points. Point t of an axis hangs on its name and the number of its values alone.

    An axis of n values takes each of them once in every n points, in an order of their own; so after t points
    no value came more than once oftener than another (the margins of a Latin hypercube).
    """
    return [
        {axis: values[_place(axis, len(values), t)] for axis, values in axes.items()} for t in range(count)
    ]


def _place(axis: str, size: int, point: int) -> int:
    """The place of a point's value among the axis' values. Hashes give the same order in any version."""
    turn, place = divmod(point, size)

    def key(value: int) -> bytes:
        return hashlib.sha256(f"{SEED} {axis} {turn} {value}".encode()).digest()

    return sorted(range(size), key=key)[place]


class Points(Space):
    """A space of which some points are drawn; the points are all there is to search.

    Args:
        count: how many. Points that come to the same experiment are one trial.
    """

    def __init__(self, tuner: Tuner, count: int, zoo: Any = None):
        self._points = draw(tuner.axes, count)
        super().__init__(tuner, zoo)

    @property
    def size(self) -> int:
        return len(self._points)

    def values(self, index: int) -> Values:
        return self._points[index]
