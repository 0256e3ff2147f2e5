"""What runs cost, and how many of them fit into a budget. Imports neither torch nor scipy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS

EPOCH_SHARE = 0.3  # of the cap that runs are taken to need, where none is known
LEAST_EPOCHS = 10
GUESS = (
    f"runs are taken to need {100 * EPOCH_SHARE:.0f} % of the cap on epochs, and at least {LEAST_EPOCHS}, "
    "until some are done here"
)
MOST_SEEDS_IN_BUDGET = 10
TRIALS_A_SEED = 4 / 3


@dataclass(frozen=True)
class Rate:
    """What an entrant costs.

    Attributes:
        train, evaluate: seconds an epoch, the mean over the points that were timed.
        cap: on epochs.
        epochs: that a run is expected to need; `known` from runs of this comparison, else guessed.
    """

    label: str
    recipe: bool
    train: float
    evaluate: float
    cap: int
    epochs: float
    known: bool

    @property
    def expected(self) -> float:
        """Seconds of a run."""
        return self.epochs * (self.train + self.evaluate)

    @property
    def at_most(self) -> float:
        return self.cap * (self.train + self.evaluate)


def read_budget(text: str) -> float:
    """Seconds of `2h`, `90m`, `1.5h` or `1h30m`.

    Raises:
        RequestError: anything else.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?", text.strip().lower())
    if not match or not any(match.groups()):
        raise RequestError(f"--budget {text}: expected hours or minutes, as 2h, 1.5h, 90m or 1h30m")
    hours, minutes = (float(part or 0) for part in match.groups())
    if not hours and not minutes:
        raise RequestError(f"--budget {text}: expected more than nothing")
    return 3600 * hours + 60 * minutes


def numbers_within(
    budget: float,
    rates: Sequence[Rate],
    workers: int,
    *,
    trials: int | None = None,
    seeds: int | None = None,
    tuned: bool = True,
    recipe_seeds: int = 1,
    more_seeds: int | None = None,
) -> tuple[int, int]:
    """The most trials and seeds that fit: about four trials to three seeds, at most 10 and at least 3 seeds.

    Args:
        budget: in seconds.
        trials, seeds: where they are given.
        tuned: whether there are trials at all.

    Raises:
        RequestError: not even the fewest fit; names what they take.
    """

    def seconds(pair: tuple[int, int]) -> float:
        """With more seeds for the two dearest."""
        ranked = [rate.expected for rate in rates if not rate.recipe]
        of_recipes = recipe_seeds * sum(rate.expected for rate in rates if rate.recipe)
        more = max(0, (more_seeds or 0) - pair[1]) * sum(sorted(ranked)[-2:])
        return (sum(pair) * sum(ranked) + of_recipes + more) / workers

    pairs = list(_pairs(trials, seeds, tuned))
    fitting = next((pair for pair in pairs if seconds(pair) <= budget), None)
    if fitting is None:
        least = pairs[-1]
        raise RequestError(
            f"--budget: {least[0]} trials and {least[1]} seeds of each model take about "
            f"{duration(seconds(least))}, and fewer are no comparison: allow that, compare fewer models, or "
            "lower --set epochs=..."
        )
    return fitting


def _pairs(trials: int | None, seeds: int | None, tuned: bool) -> Iterator[tuple[int, int]]:
    """Trials and seeds to consider, the dearest first."""
    of_seeds = [seeds] if seeds is not None else range(MOST_SEEDS_IN_BUDGET, LEAST_SEEDS - 1, -1)
    for count in of_seeds:
        if not tuned or trials is not None:
            yield (trials or 0), count
        else:
            yield max(1, round(TRIALS_A_SEED * count)), count
    if tuned and trials is None:
        fewest = of_seeds[-1]
        yield from ((count, fewest) for count in range(round(TRIALS_A_SEED * fewest) - 1, 0, -1))


def duration(seconds: float) -> str:
    """`50 s`, `12 min`, `3.4 h`: never less than it is, but for rounding errors."""
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(round(seconds / 60, 6))
    return f"{minutes} min" if minutes < 100 else f"{math.ceil(round(seconds / 360, 6)) / 10:.1f} h"
