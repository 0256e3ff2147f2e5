"""MovieLens-100K as a click task, in the columns of ml_1m_x1.

Source files: u.data, u.user, u.item of GroupLens' ml-100k.zip, or ml-100k.inter, ml-100k.user, ml-100k.item,
which RecBole's wheel carries: the same tables under headers, titles without their year. Both give the same
files, byte for byte.

Rules: rows in file order without rating 3; Label = rating > 3; random.seed(2019), random.shuffle(rows), cut
at int(0.8 n) and int(0.9 n). Age becomes the band of MovieLens-1M (1 is under 18, else the band's first year:
18, 25, 35, 45, 50, 56). Release is the decade of the last year that stands in brackets in the title: 1 to
1929, 2 the 1930s ... 7 the 1980s, 8 from 1990; 0 for the one film whose title is unknown. Genres are joined
by ^.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.raw.csv_text import read_text
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError, shown

SEED = 2019
COLUMNS = ["Label", "UserID", "Gender", "Age", "Occupation", "MovieID", "Release", "Genres"]
AGE_BANDS = (56, 50, 45, 35, 25, 18, 1)
# The flags of u.item, in its order; RecBole names them in the same one.
GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror "
    "Musical Mystery Romance Sci-Fi Thriller War Western"
).split()
SOURCE = "MovieLens-100K: u.data, u.user and u.item as GroupLens publishes them, or RecBole's ml-100k files"
# The header lines that RecBole's files begin with.
HEADERS = {
    "ratings": "user_id:token item_id:token rating:float timestamp:float".split(),
    "users": "user_id:token age:token gender:token occupation:token zip_code:token".split(),
    "items": "item_id:token movie_title:token_seq release_year:token class:token_seq".split(),
}


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """In memory: a hundred thousand ratings."""
    users = dict(_rows(sources["users"], "users", "|", 5, _user))
    items = dict(_rows(sources["items"], "items", "|", 5 + len(GENRES), _item))
    rows = []
    for user, item, rating in _rows(sources["ratings"], "ratings", "\t", 4, _rating):
        if user not in users or item not in items:
            raise RequestError(
                f"'{sources['ratings']}' has user {user} and item {item}, of whom the other files know "
                "nothing: the files are not of one download"
            )
        if rating != 3:
            rows.append([int(rating > 3), user, *users[user], item, *items[item]])
    random.Random(SEED).shuffle(rows)
    cuts = [0, int(0.8 * len(rows)), int(0.9 * len(rows)), len(rows)]
    counts = {}
    for split, start, end in zip(("train", "valid", "test"), cuts, cuts[1:], strict=False):
        part = rows[start:end]
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *part])
        counts[f"{split}.csv"] = Counts(len(part), sum(row[0] for row in part))
    return counts


def _rating(cells: list[str]) -> tuple[str, str, int]:
    user, item, rating, _ = cells
    if rating not in ("1", "2", "3", "4", "5"):
        raise ValueError
    return str(int(user)), str(int(item)), int(rating)


def _user(cells: list[str]) -> tuple[str, list[str]]:
    """user -> Gender, Age, Occupation."""
    user, age, gender, occupation, _ = cells
    if gender not in ("F", "M"):
        raise ValueError
    band = next(band for band in AGE_BANDS if int(age) >= band)
    return str(int(user)), [gender, str(band), occupation]


def _item(cells: list[str]) -> tuple[str, list[str]]:
    """item -> Release, Genres."""
    item, title, *rest = cells
    if len(rest) == 2:  # RecBole: the year, which the title has lost; the genres by name
        year, genres = rest[0], rest[1].split(" ")
        if not set(genres) <= set(GENRES):
            raise ValueError
    else:
        flags = rest[-len(GENRES) :]
        if not set(flags) <= {"0", "1"}:
            raise ValueError
        year, genres = "", [genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1"]
    years = re.findall(r"\((\d{4})\)", f"{title} ({year})")
    release = min(max((int(years[-1]) - 1910) // 10, 1), 8) if years else 0
    return str(int(item)), [str(release), "^".join(genres)]


def _rows(file: Path, kind: str, separator: str, width: int, parse: Callable) -> Iterator:
    """The parsed lines of a file in either layout.

    Raises:
        RequestError: the first line that is not of this file.
    """
    text = file.read_text("latin-1").rstrip("\n") if file.name == "u.item" else read_text(file)
    lines = text.split("\n")
    first = 1
    if lines[0].split("\t") == HEADERS[kind]:
        separator, width, first = "\t", len(HEADERS[kind]), 2
    for number, line in enumerate(lines[first - 1 :], start=first):
        cells = line.split(separator)
        try:
            if len(cells) != width:
                raise ValueError
            yield parse(cells)
        except (ValueError, StopIteration):
            raise RequestError(
                f"'{file}', line {number}: {shown(line)} is no line of the {kind} of {SOURCE}"
            ) from None


RECIPE = Recipe(
    source=SOURCE,
    needs={
        "ratings": ("u.data", "ml-100k.inter"),
        "users": ("u.user", "ml-100k.user"),
        "items": ("u.item", "ml-100k.item"),
    },
    makes=("train.csv", "valid.csv", "test.csv"),
    write=write,
)
