"""A simulated click log in which few items of a long history decide, by their number.

Every item has a hidden type. Types complement each other in one direction only, as a case complements a
phone: they form a ring in a random order, and the complement of a type is the next one. A user clicks
an item the more surely, the more items its history holds whose type is the complement of the item's:

    logit = BIAS + MATCH * number of complements in the history + LIKES * (likes_level - 5)

The complements are Poisson(MATCHES) many, whatever the length of the history; the rest of it,
distractors, is drawn evenly from all items of other types. So a model has to (1) learn the relation of
types, which is neither likeness nor symmetric, (2) leave the distractors out, and (3) count: an
attention whose weights sum to one sees shares, which mix the number with the length of the history.

The type of an item shows in its vector item_emb_d128 (that of its type plus noise), and can be learnt
for each item_id; tags and views_level are noise. Rows are independent of each other, also within a user.
The layout is that of MicroLens_1M_x1: three splits, and item_info with a row for each item id.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import polars as pl

from fuxictr_qnn.data.simulation import Impressions, parquet

VERSION = 1  # raise it with every change of what is simulated
LABEL = "label"
PATHS = {
    "train_data": "train.parquet",
    "valid_data": "valid.parquet",
    "test_data": "test.parquet",
    "item_info": "item_info.parquet",
}
SEED = 2025
ROWS = {"train": 80_000, "valid": 20_000, "test": 20_000}
ROWS_PER_USER = 10

ITEMS = 600
TYPES = 20
TAGS = 12  # with the padding 0
WIDTH = 128  # of an item's vector
NOISE = 0.5  # of an item's vector around that of its type, in terms of its length
LENGTH = 64  # of the padded history; real ones are 0 to 64 long

MATCHES = 2.0
BIAS, MATCH, LIKES = -2.4, 1.2, 0.1


@cache
def items() -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """item_info, the type of each item id (-1 for the padding), and the complement of each type."""
    world = np.random.default_rng(SEED)
    ring = world.permutation(TYPES)
    complement = np.empty(TYPES, int)
    complement[ring] = np.roll(ring, -1)
    types = np.concatenate([[-1], world.permutation(np.arange(ITEMS) % TYPES)])
    centres = world.normal(size=(TYPES, WIDTH)) / np.sqrt(WIDTH)
    vectors = centres[types] + NOISE * world.normal(size=(ITEMS + 1, WIDTH)) / np.sqrt(WIDTH)
    tags = np.sort(world.integers(0, TAGS, (ITEMS + 1, 5)), axis=1)[:, ::-1]
    vectors[0], tags[0] = 0, 0
    info = pl.DataFrame(
        {
            "item_id": np.arange(ITEMS + 1, dtype=np.int32),
            "item_tags": pl.Series(tags.astype(np.int32)).arr.to_list(),
            "item_emb_d128": pl.Series(vectors.astype(np.float32)).arr.to_list(),
        }
    )
    return info, types, complement


@cache
def simulate(split: str) -> Impressions:
    """The rows of "train", "valid" or "test": always the same ones."""
    draws = np.random.default_rng([SEED, list(ROWS).index(split)])
    levels = np.random.default_rng([SEED, len(ROWS)]).integers(0, 11, (2, ITEMS + 1))
    rows = ROWS[split]
    target = draws.integers(1, ITEMS + 1, rows)
    history = _histories(target, draws)
    likes, views = levels[:, target]
    logit = BIAS + MATCH * matches(target, history) + LIKES * (likes - 5)
    probability = 1 / (1 + np.exp(-logit))
    first_user = 1 + sum(list(ROWS.values())[: list(ROWS).index(split)]) // ROWS_PER_USER
    frame = pl.DataFrame(
        {
            "user_id": first_user + np.arange(rows) // ROWS_PER_USER,
            "item_seq": pl.Series(history.astype(np.int32)).arr.to_list(),
            "item_id": target.astype(np.int32),
            "likes_level": likes.astype(np.int32),
            "views_level": views.astype(np.int32),
            "label": (draws.random(rows) < probability).astype(np.int32),
        }
    )
    return Impressions(frame, probability)


def matches(target: np.ndarray, history: np.ndarray) -> np.ndarray:
    """How many items of each history (rows, LENGTH) are complements of the target (rows,)."""
    _, types, complement = items()
    return (types[history] == complement[types[target]][:, None]).sum(axis=1)


def _histories(target: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Item ids, padded with 0 on the left; complements stand anywhere among the distractors."""
    _, types, complement = items()
    rows = len(target)
    of_type = np.stack([np.flatnonzero(types == kind) for kind in range(TYPES)])  # (TYPES, items of a type)
    wanted = complement[types[target]][:, None]
    others = (wanted + draws.integers(1, TYPES, (rows, LENGTH))) % TYPES
    length = draws.integers(0, LENGTH + 1, rows)[:, None]
    planted = np.minimum(draws.poisson(MATCHES, rows)[:, None], length)
    place = np.arange(LENGTH)
    real = place >= LENGTH - length
    order = np.where(real, draws.random((rows, LENGTH)), np.inf).argsort(axis=1).argsort(axis=1)
    kinds = np.where(order < planted, wanted, others)
    chosen = of_type[kinds, draws.integers(0, of_type.shape[1], (rows, LENGTH))]
    return np.where(real, chosen, 0)


def files() -> Iterator[tuple[str, bytes]]:
    """The splits, item_info, and beside each <split>.parquet its click probabilities."""
    yield "item_info.parquet", parquet(items()[0])
    for split in ROWS:
        impressions = simulate(split)
        yield f"{split}.parquet", parquet(impressions.frame)
        yield f"{split}_probability.parquet", parquet(pl.DataFrame({"probability": impressions.probability}))
