"""The papers' ML-1M task from GroupLens' MovieLens-1M.

Source files: ratings.dat, users.dat, movies.dat (ml-1m.zip).

Rules: rows of ratings.dat in file order without rating 3; Label = rating > 3; random.seed(2019),
random.shuffle(rows), cut at int(0.8 n) and int(0.9 n). Release is the decade of the year in the title, as
an id: 1 to 1929, 2 the 1930s ... 7 the 1980s, 8 from 1990. Genres are joined by ^. 591,209 / 73,901 /
73,902 rows.

Known to differ: the authors of QNN-alpha published neither their split nor how they binned the years;
with their split the vocabulary of MovieID has 3,643 ids, with this one 3,645.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.movielens import NEEDS, SOURCE, read_movielens
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe

SEED = 2019
COLUMNS = ["Label", "UserID", "Gender", "Age", "Occupation", "MovieID", "Release", "Genres"]


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """In memory: a million ratings."""
    data = read_movielens(sources)
    decade = (pl.col("Year") // 10 * 10).clip(1920, 1990)
    movies = data.movies.select(
        "MovieID",
        ((decade - 1910) // 10).alias("Release"),
        pl.col("Genres").str.replace_all("|", "^", literal=True),
    )
    rows = (
        data.ratings.filter(pl.col("Rating") != 3)
        .with_columns((pl.col("Rating") > 3).cast(pl.Int8).alias("Label"))
        .join(data.users, on="UserID", how="left", maintain_order="left")
        .join(movies, on="MovieID", how="left", maintain_order="left")
        .select(COLUMNS)
    )
    order = list(range(len(rows)))
    random.Random(SEED).shuffle(order)
    shuffled = rows[order]
    cuts = [0, int(0.8 * len(rows)), int(0.9 * len(rows)), len(rows)]
    counts = {}
    for split, start, end in zip(("train", "valid", "test"), cuts, cuts[1:], strict=False):
        part = shuffled[start:end]
        part.write_csv(folder / f"{split}.csv")
        counts[f"{split}.csv"] = Counts(len(part), int(part["Label"].sum()))
    return counts


RECIPE = Recipe(SOURCE, NEEDS, ("train.csv", "valid.csv", "test.csv"), write)
