"""GroupLens' MovieLens-1M as frames: ratings.dat, users.dat and movies.dat, whose cells are parted by ::."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fuxictr_qnn.data.raw.csv_text import read_text
from fuxictr_qnn.errors import RequestError, shown

SOURCE = "MovieLens-1M as GroupLens publishes it (ratings.dat, users.dat and movies.dat of ml-1m.zip)"
NEEDS = {name: (f"{name}.dat",) for name in ("ratings", "users", "movies")}
# A line of each file, its cells as groups.
LINES = {
    "ratings": r"^(?<UserID>\d+)::(?<MovieID>\d+)::(?<Rating>[1-5])::(?<Timestamp>\d+)$",
    "users": r"^(?<UserID>\d+)::(?<Gender>[FM])::(?<Age>\d+)::(?<Occupation>\d+)::(?<Zip>[^:]+)$",
    "movies": r"^(?<MovieID>\d+)::(?<Title>.*\((?<Year>\d{4})\))::(?<Genres>[^:]+)$",
}
NUMBERS = pl.col("^(UserID|MovieID|Rating|Timestamp|Age|Occupation|Year)$")


@dataclass(frozen=True)
class MovieLens:
    """The three tables in the order of their files.

    Attributes:
        ratings: UserID, MovieID, Rating (1 to 5), Timestamp (seconds).
        users: UserID, Gender, Age, Occupation, Zip.
        movies: MovieID, Title (with the year), Year, Genres (parted by |).
    """

    ratings: pl.DataFrame
    users: pl.DataFrame
    movies: pl.DataFrame


def read_movielens(sources: dict[str, Path]) -> MovieLens:
    """Read and check the three files.

    Raises:
        RequestError: the first bad line of each file, or ratings of unknown users and movies.
    """
    tables, problems = {}, []
    for name, file in sources.items():
        try:
            tables[name] = _read(file, LINES[name])
        except RequestError as error:
            problems += error.problems
    if not problems:
        for key, name in (("UserID", "users"), ("MovieID", "movies")):
            problems += _join_problems(tables, key, name, sources)
    if problems:
        raise RequestError(problems)
    return MovieLens(**tables)


def _read(file: Path, line: str) -> pl.DataFrame:
    lines = pl.Series("line", _text(file).split("\n"))
    cells = lines.str.extract_groups(line).struct.unnest()
    wrong = cells[cells.columns[0]].is_null()
    if wrong.any():
        at = int(wrong.arg_max())
        raise RequestError(f"'{file}', line {at + 1}: {shown(lines[at])} is not a line of {SOURCE}")
    return cells.with_columns(NUMBERS.cast(pl.Int64))


def _text(file: Path) -> str:
    """Titles have accents, in Latin-1 as GroupLens has them; the other files are plain ASCII."""
    try:
        return read_text(file)
    except RequestError:
        if file.name != "movies.dat":
            raise
        return file.read_text("latin-1").rstrip("\n")


def _join_problems(tables: dict[str, pl.DataFrame], key: str, name: str, sources: dict) -> list[str]:
    problems = []
    doubled = tables[name].filter(pl.col(key).is_duplicated())
    if len(doubled):
        problems.append(f"'{sources[name]}' has {key} {doubled[key][0]} more than once")
    strangers = tables["ratings"].join(tables[name], on=key, how="anti")
    if len(strangers):
        problems.append(
            f"'{sources['ratings']}' has {key} {strangers[key][0]}, which '{sources[name]}' lacks: "
            "the files are not of one download"
        )
    return problems
