"""Which trials a sweep does, and in which order: all of them, some at random, or where TPE expects most."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.tuning.space import Space, Trial

SEARCHES = ("grid", "random", "tpe")
GRID_LIMIT = 10_000  # trials that are made up before the first one starts
RANDOM_SEED = 1  # the same command draws the same trials


class Search(Protocol):
    """Gives the trials of a sweep one after another and hears how they ended."""

    planned: list[Trial]  # those that are certain: known before the first one starts
    count: int  # how many there will be

    def ask(self) -> Trial | None:
        """The next trial to do; None: no more, or none before another has ended."""

    def tell(self, trial: Trial, value: float | None) -> None:
        """A trial ended with this monitored value; None: it failed. Pruned ones have their last value."""


class Planned:
    """Trials that are all known beforehand."""

    def __init__(self, trials: Iterable[Trial]):
        self.planned = list(trials)
        self.count = len(self.planned)
        self._left = deque(self.planned)

    def ask(self) -> Trial | None:
        return self._left.popleft() if self._left else None

    def tell(self, trial: Trial, value: float | None) -> None:
        """Nothing depends on it."""


def grid(space: Space, limit: int | None = None) -> list[Trial]:
    """All trials of the space, or the first `limit` of them.

    Raises:
        RequestError: there are too many, or one is wrong.
    """
    wanted = min(space.size, limit or space.size)
    if wanted > GRID_LIMIT:
        raise RequestError(
            f"{space.tuner.place}: {space.size:,} combinations are more than a grid of {GRID_LIMIT:,}: use "
            "--search random or --search tpe with --trials K, or list fewer values"
        )
    return space.trials(range(wanted))


def at_random(space: Space, count: int) -> list[Trial]:
    """So many distinct trials, equally likely; with a greater count, those of the smaller one come first.

    Raises:
        RequestError: the problems of those that are wrong.
    """
    indices = islice(shuffled(space.size), GRID_LIMIT)
    found = space.trials(islice(indices, count))
    while len(found) < count and (index := next(indices, None)) is not None:  # some are one experiment
        known = {trial.identity for trial in found}
        found += [trial for trial in space.trials([index]) if trial.identity not in known]
    return found


def shuffled(size: int) -> Iterator[int]:
    """All whole numbers below `size`, each once, in random order; those not asked for cost nothing."""
    generator, moved = random.Random(RANDOM_SEED), {}
    for left in range(size, 0, -1):
        place = generator.randrange(left)
        yield moved.get(place, place)
        moved[place] = moved.pop(left - 1, left - 1)
