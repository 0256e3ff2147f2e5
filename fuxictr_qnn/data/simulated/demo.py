"""A simulated click log whose click probabilities are known, and so the best AUC that any model can reach.

An impression is a user, an item and a context; a few users and items make most of them (Zipf). The
logit is a sum of planted terms: an effect of each value (which a linear model finds), products of two
fields (factorization machines) and products of three (deep and quadratic networks).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import polars as pl

from fuxictr_qnn.data.simulated.simulation import Impressions, parquet

VERSION = 1  # raise it with every change of what is simulated
LABEL = "click"
PATHS = {"train_data": "train.csv", "valid_data": "valid.csv", "test_data": "test.csv"}
SEED = 2025
ROWS = {"train": 100_000, "valid": 25_000, "test": 25_000}

# field -> number of values and exponent of the Zipf law of their frequencies (0: uniform)
FIELDS = {
    "user": (800, 0.6),
    "age": (7, 0.3),
    "city": (30, 0.8),
    "item": (300, 0.8),
    "category": (10, 0.4),
    "device": (4, 0.5),
    "hour": (24, 0.0),
    "position": (6, 0.5),
}
# fields whose latent factors are multiplied, and the weight of the product in the logit
TERMS = {
    ("user",): 0.35,
    ("city",): 0.2,
    ("item",): 0.45,
    ("position",): 0.4,
    ("age", "category"): 0.6,
    ("city", "device"): 0.45,
    ("user", "category"): 0.45,
    ("age", "category", "hour"): 0.9,
    ("device", "category", "position"): 0.9,
}
BIAS = -0.9


@cache
def simulate(split: str) -> Impressions:
    """The rows of "train", "valid" or "test": always the same ones."""
    world = np.random.default_rng(SEED)
    frequencies = {field: _zipf(size, exponent) for field, (size, exponent) in FIELDS.items()}
    factors = {term: [_factor(world, frequencies[field]) for field in term] for term in TERMS}
    draws = np.random.default_rng([SEED, list(ROWS).index(split)])
    rows = ROWS[split]
    values = {field: draws.choice(len(p), rows, p=p) for field, p in frequencies.items()}
    logit = np.full(rows, BIAS)
    for term, weight in TERMS.items():
        products = [factor[values[field]] for field, factor in zip(term, factors[term], strict=True)]
        logit += weight * np.prod(products, axis=0)
    probability = 1 / (1 + np.exp(-logit))
    click = (draws.random(rows) < probability).astype(np.int8)
    return Impressions(pl.DataFrame({"click": click, **values}), probability)


def _zipf(size: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, size + 1) ** -exponent
    return weights / weights.sum()


def _factor(world: np.random.Generator, frequency: np.ndarray) -> np.ndarray:
    """A number for each value of a field, of mean 0 and variance 1 over the impressions.

    Mean 0 makes a product of factors a pure interaction: no term of lower order explains any of it.
    """
    raw = world.normal(size=len(frequency))
    centred = raw - frequency @ raw
    return centred / np.sqrt(frequency @ centred**2)


def files() -> Iterator[tuple[str, bytes]]:
    """The log as CSV; beside each <split>.csv, <split>_probability.parquet: its click probabilities."""
    for split in ROWS:
        impressions = simulate(split)
        yield f"{split}.csv", impressions.frame.write_csv().encode()
        yield f"{split}_probability.parquet", parquet(pl.DataFrame({"probability": impressions.probability}))
