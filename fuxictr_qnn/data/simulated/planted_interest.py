"""A simulated click log in which few items of a long history decide, by their number.

Every item i has a hidden direction u_i (unit length, DIRECTIONS numbers). How far i complements the
candidate t is u_t J u_i, where J turns each pair of coordinates by 90 degrees. So the relation has a
direction, as from a phone to its case: if i complements t, then t does not complement i, and likeness of
directions (their elementwise product, too) says nothing. The COMPLEMENTS best items are the complements
of t. A user clicks the more surely, the more of them the history holds:

    logit = BIAS + MATCH * number of complements in the history + LIKES * (likes_level - 5)

There are Poisson(MATCHES) many of them, whatever the length of the history; the rest of it, distractors,
is drawn evenly from all items but the NEAR best. So a model has to (1) learn a directed relation, which
is bilinear: queries and keys of an attention express it exactly, a network on the pair (DIN) has to
approximate it, (2) leave the distractors out, and (3) count: attention weights that sum to one see
shares, which mix the number with the length of the history. Where few discrete types take the place of
directions, (1) is easy for a network on the pair, which then learns the task better than attention.

The direction shows in the item's vector item_emb_d128 (a linear map of it, plus noise), and can be
learnt for each item_id; tags and views_level are noise. Rows are independent of each other, also within
a user. The layout is that of MicroLens_1M_x1: three splits, and item_info with a row for each item id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from fuxictr_qnn.data.simulated.simulation import Impressions, parquet

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
DIRECTIONS = 16  # an even number
COMPLEMENTS, NEAR = 20, 100
TAGS = 12  # with the padding 0
WIDTH = 128  # of an item's vector
NOISE = 0.3  # in an item's vector, in terms of what the direction gives
LENGTH = 64  # of the padded history; real ones are 0 to 64 long

MATCHES = 2.0
BIAS, MATCH, LIKES = -2.4, 1.2, 0.1


@dataclass(frozen=True)
class Items:
    """What there is to click.

    Attributes:
        info: the item table, a row for each item id, 0 for the padding.
        directions: u, shape (ITEMS, DIRECTIONS); the first row is that of item 1.
        complements, distractors: ids of the items that are drawn as such for a candidate, in rows of
            item ids: (ITEMS + 1, COMPLEMENTS) and (ITEMS + 1, ITEMS - NEAR).
    """

    info: pl.DataFrame
    directions: np.ndarray
    complements: np.ndarray
    distractors: np.ndarray


@cache
def items() -> Items:
    world = np.random.default_rng(SEED)
    directions = world.normal(size=(ITEMS, DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turned = directions.reshape(ITEMS, -1, 2)[:, :, ::-1] * [1, -1]  # J u
    best_first = np.argsort(-directions @ turned.reshape(ITEMS, -1).T, axis=1) + 1
    best_first = np.concatenate([np.zeros((1, ITEMS), int), best_first])
    vectors = np.zeros((ITEMS + 1, WIDTH), np.float32)
    vectors[1:] = directions @ world.normal(size=(DIRECTIONS, WIDTH)) / np.sqrt(WIDTH)
    vectors[1:] += NOISE * vectors.std() * world.normal(size=(ITEMS, WIDTH))
    tags = np.sort(world.integers(0, TAGS, (ITEMS + 1, 5)), axis=1)[:, ::-1].astype(np.int32)
    tags[0] = 0
    info = pl.DataFrame(
        {
            "item_id": np.arange(ITEMS + 1, dtype=np.int32),
            "item_tags": pl.Series(tags).arr.to_list(),
            "item_emb_d128": pl.Series(vectors).arr.to_list(),
        }
    )
    return Items(info, directions, best_first[:, :COMPLEMENTS], best_first[:, NEAR:])


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
    table = np.zeros((ITEMS + 1, ITEMS + 1), bool)
    table[np.arange(1, ITEMS + 1)[:, None], items().complements[1:]] = True
    return table[target[:, None], history].sum(axis=1)


def _histories(target: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Item ids, padded with 0 on the left; complements stand anywhere among the distractors."""
    rows = len(target)
    length = draws.integers(0, LENGTH + 1, rows)[:, None]
    planted = np.minimum(draws.poisson(MATCHES, rows)[:, None], length)
    real = np.arange(LENGTH) >= LENGTH - length
    order = np.where(real, draws.random((rows, LENGTH)), np.inf).argsort(axis=1).argsort(axis=1)
    drawn = {
        name: table[target[:, None], draws.integers(0, table.shape[1], (rows, LENGTH))]
        for name, table in (("near", items().complements), ("far", items().distractors))
    }
    return np.where(real, np.where(order < planted, drawn["near"], drawn["far"]), 0)


def files() -> Iterator[tuple[str, bytes]]:
    """The splits, item_info, and beside each <split>.parquet its click probabilities."""
    yield "item_info.parquet", parquet(items().info)
    for split in ROWS:
        impressions = simulate(split)
        yield f"{split}.parquet", parquet(impressions.frame)
        yield f"{split}_probability.parquet", parquet(pl.DataFrame({"probability": impressions.probability}))
