"""ml1m_next, the next film that a user likes, from GroupLens' MovieLens-1M: a stand-in for MicroLens_1M_x1.

Source files: ratings.dat, users.dat, movies.dat (ml-1m.zip).

Rules. item_id is the row of movies.dat, from 1. A like is a rating of 4 or 5; users with 10 likes or more
stay, their ratings in time order (rows of the same second in file order). Of a user's n likes, those before
int(0.8 n) are train, those before int(0.9 n) valid, the others test; each like from the sixth on is a
positive row, and the row after it has the same history with a film the user never rated. Films are ranked
by their likes in the training period (a tie goes to the smaller item_id; films without any have no rank and
give no row), and that film is drawn uniformly within 50 ranks, until one is found; after every 20 misses
the window doubles. One numpy default_rng(2019), as NumPy 1.17 to 2.4 draw with it, serves all users, one
after another.
item_seq: the last 64 likes, left-padded with 0. likes_level and views_level: 1 + deciles of the likes and of
the ratings before the user's first validation like, 0 without any. item_tags: genres in alphabetical order,
numbered so, padded right with 0 to 5.

Known to differ: item_emb_d128 of the published measurements came from a sentence encoder (MiniLM) that read
title, genres and plot, and ratings.dat has no plots. Put the item_info.parquet that has those vectors beside
the raw files and they are taken from there; else the vectors are TF-IDF weights of the words of title and
genres, reduced to 128 numbers by a singular value decomposition: models see less in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.movielens import NEEDS, SOURCE, read_movielens
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError

SEED = 2019
LIKED = 4
MIN_LIKES, FIRST_TARGET = 10, 5
WINDOW, MISSES = 50, 20
LENGTH, TAGS, WIDTH = 64, 5, 128
SPLITS = ("train", "valid", "test")


class Draws:
    """What numpy's default_rng(seed).integers(low, high) draws, without asking NumPy to keep it so.

    NumPy promises the stream of PCG64's 64-bit numbers, but not what its Generator makes of them. This is
    Lemire's method ("Fast random integer generation in an interval", 2019) on their 32-bit halves.
    """

    def __init__(self, seed: int):
        self._bits = np.random.PCG64(seed)
        self._halves: list[int] = []

    def integer(self, low: int, high: int) -> int:
        """Uniform in [low, high); high - low is at most 2**32."""
        count = high - low
        if count == 1:
            return low
        product = self._half() * count
        if product % 2**32 < count:
            while product % 2**32 < 2**32 % count:
                product = self._half() * count
        return low + (product >> 32)

    def _half(self) -> int:
        if not self._halves:
            for word in self._bits.random_raw(1000).tolist()[::-1]:
                self._halves += [word >> 32, word % 2**32]
        return self._halves.pop()


class User(NamedTuple):
    """One user's ratings in time order: item ids, and which of them are likes (positions)."""

    id: int
    items: np.ndarray
    likes: np.ndarray

    @property
    def liked(self) -> np.ndarray:
        return self.items[self.likes]

    @property
    def cuts(self) -> tuple[int, int]:
        """Numbers of the first validation and the first test like."""
        return int(0.8 * len(self.likes)), int(0.9 * len(self.likes))


def users_of(ratings: pl.DataFrame, item_ids: dict[int, int]) -> list[User]:
    """Users with enough likes, in the order of their ids."""
    rows = ratings.with_row_index("row").sort("UserID", "Timestamp", "row")
    rows = rows.with_columns(pl.col("MovieID").replace_strict(item_ids, return_dtype=pl.Int32).alias("item"))
    ids, first = np.unique(rows["UserID"].to_numpy(), return_index=True)
    parts = zip(
        ids.tolist(),
        np.split(rows["item"].to_numpy(), first[1:]),
        np.split(rows["Rating"].to_numpy() >= LIKED, first[1:]),
        strict=True,
    )
    users = [User(id, items, np.flatnonzero(liked)) for id, items, liked in parts]
    return [user for user in users if len(user.likes) >= MIN_LIKES]


class Popularity(NamedTuple):
    """Likes and ratings of each item in the training period, shape (items + 1,)."""

    likes: np.ndarray
    views: np.ndarray

    @classmethod
    def of(cls, users: list[User], items: int) -> Popularity:
        likes = np.concatenate([user.liked[: user.cuts[0]] for user in users])
        views = np.concatenate([user.items[: user.likes[user.cuts[0]]] for user in users])
        return cls(np.bincount(likes, minlength=items + 1), np.bincount(views, minlength=items + 1))

    def ranked(self) -> np.ndarray:
        """Ids of items with likes, the most liked first."""
        order = np.argsort(-self.likes, kind="stable")
        return order[self.likes[order] > 0]


def levels(counts: np.ndarray) -> np.ndarray:
    """1 to 10 by deciles of the counts above 0; 0 for those that are 0."""
    some = counts > 0
    bounds = np.quantile(counts[some], np.arange(1, 10) / 10)
    return np.where(some, 1 + np.searchsorted(bounds, counts, side="right"), 0).astype(np.int32)


def draw_pairs(users: list[User], ranked: np.ndarray) -> Iterator[tuple[User, list[int], list[int]]]:
    """For each user: which likes (numbers in time order) make a row, and the film that was drawn for each."""
    draws = Draws(SEED)
    rank = dict(zip(ranked.tolist(), range(len(ranked)), strict=True))
    films = ranked.tolist()
    for user in users:
        rated = set(user.items.tolist())
        liked = user.liked.tolist()
        if len(rated) >= len(films) and rated.issuperset(films):
            raise RequestError(f"user {user.id} rated every film that has likes: none is left to draw")
        targets = [number for number in range(FIRST_TARGET, len(liked)) if liked[number] in rank]
        drawn = []
        for number in targets:
            center, window, misses = rank[liked[number]], WINDOW, 0
            while (
                film := films[draws.integer(max(0, center - window), min(len(films), center + window + 1))]
            ) in rated:
                misses += 1
                if misses == MISSES:
                    window, misses = 2 * window, 0
            drawn.append(film)
        yield user, targets, drawn


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """In memory: a million rows with histories of 64."""
    data = read_movielens({name: sources[name] for name in NEEDS})
    movies = data.movies["MovieID"].to_list()
    vectors = _vectors(data.movies, sources.get("vectors"), log)
    users = users_of(data.ratings, {movie: number for number, movie in enumerate(movies, 1)})
    if not users:
        raise RequestError(f"'{sources['ratings']}': no user has {MIN_LIKES} ratings of {LIKED} or 5")
    popularity = Popularity.of(users, len(movies))
    log(f"drawing a film for each like of {len(users):,} users")
    rows = _rows(users, popularity)
    counts = {}
    for split in SPLITS:
        frame = _frame(rows[split], levels(popularity.likes), levels(popularity.views))
        frame.write_parquet(folder / f"{split}.parquet")
        counts[f"{split}.parquet"] = Counts(len(frame), int(frame["label"].sum()))
    info = _item_info(data.movies, vectors)
    info.write_parquet(folder / "item_info.parquet")
    return counts | {"item_info.parquet": Counts(len(info))}


class Rows(NamedTuple):
    """Rows of one split, parts by user: shapes (pairs,), (pairs, LENGTH), (pairs,), (pairs,)."""

    user: list[np.ndarray]
    history: list[np.ndarray]
    liked: list[np.ndarray]
    drawn: list[np.ndarray]


def _rows(users: list[User], popularity: Popularity) -> dict[str, Rows]:
    rows = {split: Rows([], [], [], []) for split in SPLITS}
    for user, targets, drawn in draw_pairs(users, popularity.ranked()):
        liked = user.liked
        padded = np.concatenate([np.zeros(LENGTH, np.int32), liked])
        histories = np.lib.stride_tricks.sliding_window_view(padded, LENGTH)[targets]
        cuts = np.searchsorted(targets, user.cuts)
        bounds = [0, *cuts, len(targets)]
        for split, start, end in zip(SPLITS, bounds, bounds[1:], strict=False):
            part = rows[split]
            part.user.append(np.full(end - start, user.id, np.int32))
            part.history.append(histories[start:end])
            part.liked.append(liked[targets[start:end]])
            part.drawn.append(np.array(drawn[start:end], np.int32))
    return rows


def _frame(rows: Rows, likes: np.ndarray, views: np.ndarray) -> pl.DataFrame:
    """Two rows a pair: the liked film, then the drawn one."""
    items = np.stack([np.concatenate(rows.liked), np.concatenate(rows.drawn)], axis=1).ravel()
    history = np.repeat(np.concatenate(rows.history), 2, axis=0)
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.concatenate(rows.user), 2),
            "item_seq": pl.Series(history).arr.to_list(),
            "item_id": items,
            "likes_level": likes[items],
            "views_level": views[items],
            "label": np.tile(np.array([1, 0], np.int32), len(items) // 2),
        }
    )


def _item_info(movies: pl.DataFrame, vectors: np.ndarray) -> pl.DataFrame:
    """A row for each item id; 0 is the padding."""
    genres = [sorted(cell.split("|")) for cell in movies["Genres"]]
    number = {genre: at for at, genre in enumerate(sorted({name for names in genres for name in names}), 1)}
    tags = [([number[name] for name in names] + [0] * TAGS)[:TAGS] for names in ([], *genres)]
    return pl.DataFrame(
        {
            "item_id": np.arange(len(movies) + 1, dtype=np.int32),
            "item_tags": pl.Series(tags, dtype=pl.List(pl.Int32)),
            "item_emb_d128": pl.Series(
                np.concatenate([np.zeros((1, WIDTH), np.float32), vectors])
            ).arr.to_list(),
        }
    )


def _vectors(movies: pl.DataFrame, given: Path | None, log: Log) -> np.ndarray:
    """A vector of each film, shape (films, WIDTH), float32."""
    if given is None:
        log(
            "WARNING: item_emb_d128 is made from the words of titles and genres (TF-IDF, SVD); the published "
            "figures used a sentence encoder on texts with plots, so they cannot be compared. An "
            "item_info.parquet beside the raw files gives its vectors instead"
        )
        return text_vectors(movies)
    try:
        table = pl.read_parquet(given, columns=["item_id", "item_emb_d128"]).filter(pl.col("item_id") > 0)
        vectors = np.array(table.sort("item_id")["item_emb_d128"].to_list(), np.float32)
    except (pl.exceptions.PolarsError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"'{given}': no columns item_id and item_emb_d128 of equal lists: {reason}"
        ) from error
    if vectors.shape != (len(movies), WIDTH):
        found = " x ".join(str(size) for size in vectors.shape)
        raise RequestError(
            f"'{given}' has vectors {found}, but {len(movies)} films need {WIDTH} numbers each"
        )
    log(f"item_emb_d128 is that of {given}")
    return vectors


def text_vectors(movies: pl.DataFrame) -> np.ndarray:
    """TF-IDF weights of the words of title and genres, reduced by a singular value decomposition."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [
        f"{title} {genres.replace('|', ' ')}" for title, genres in movies.select("Title", "Genres").rows()
    ]
    weights = TfidfVectorizer(token_pattern=r"[^\W_]+", sublinear_tf=True).fit_transform(texts)
    size = min(WIDTH, *(side - 1 for side in weights.shape))
    reduced = TruncatedSVD(size, random_state=SEED).fit_transform(weights)
    return np.pad(reduced, ((0, 0), (0, WIDTH - size))).astype(np.float32)


RECIPE = Recipe(
    source=SOURCE,
    needs=NEEDS,
    uses={"vectors": ("item_info.parquet",)},
    makes=(*(f"{split}.parquet" for split in SPLITS), "item_info.parquet"),
    write=write,
)
