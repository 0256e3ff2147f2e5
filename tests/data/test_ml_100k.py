"""MovieLens-100K from GroupLens' layout and from RecBole's: the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.data.recipes import prepare
from fuxictr_qnn.data.recipes.ml_100k import GENRES
from fuxictr_qnn.errors import RequestError

RATINGS = [
    (196, 1, 4),
    (186, 2, 3),
    (22, 267, 1),
    (196, 2, 2),
    (22, 1, 5),
    (186, 4, 5),
    (22, 3, 4),
    (196, 3, 5),
]
RATINGS += [(22, 4, 2), (186, 1, 1), (186, 3, 4), (196, 4, 4)]
USERS = [(196, 49, "M", "writer"), (186, 17, "F", "executive"), (22, 56, "M", "other")]
# id, title in GroupLens' form, title and year in RecBole's, genres
ITEMS = [
    (1, "Kolya (1996)", "Kolya", "1996", ["Comedy"]),
    (2, "Good Morning (1971)", "Good Morning", "1971", ["unknown"]),
    (267, "unknown", "unkonwn", "unkonwn", ["unknown"]),
    (3, "Cérémonie, La (1995) (V)", "Cérémonie, La (1995)", "V", ["Animation", "Children's"]),
    (4, "Nosferatu (a symphony) (1922)", "Nosferatu (a symphony)", "1922", ["Horror"]),
]


@pytest.fixture
def grouplens(tmp_path: Path) -> Path:
    raw = tmp_path / "grouplens"
    raw.mkdir()
    items = [
        [item, title, "24-Jan-1997", "", "http://x", *(int(genre in genres) for genre in GENRES)]
        for item, title, _, _, genres in ITEMS
    ]
    _write(raw / "u.data", "\t", [(*rating, 881250949) for rating in RATINGS])
    _write(raw / "u.user", "|", [(*user, "85711") for user in USERS])
    _write(raw / "u.item", "|", items, encoding="latin-1")
    return raw


@pytest.fixture
def recbole(tmp_path: Path) -> Path:
    raw = tmp_path / "recbole"
    raw.mkdir()
    ratings, users, items = (
        "user_id:token item_id:token rating:float timestamp:float".split(),
        "user_id:token age:token gender:token occupation:token zip_code:token".split(),
        "item_id:token movie_title:token_seq release_year:token class:token_seq".split(),
    )
    named = [(item, title, year, " ".join(genres)) for item, _, title, year, genres in ITEMS]
    _write(raw / "ml-100k.inter", "\t", [ratings, *((*rating, 881250949) for rating in RATINGS)])
    _write(raw / "ml-100k.user", "\t", [users, *((*user, "85711") for user in USERS)])
    _write(raw / "ml-100k.item", "\t", [items, *named])
    return raw


def _write(file: Path, separator: str, rows: list, encoding: str = "utf-8") -> None:
    lines = [separator.join(str(cell) for cell in row) for row in rows]
    file.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def prepared(raw: Path, folder: Path) -> dict[str, str]:
    files = prepare("ml_100k", raw, folder, lambda line: None)
    return {name: file.read_text() for name, file in files.items()}


def test_both_layouts_give_the_same_files(grouplens, recbole, tmp_path):
    files = prepared(grouplens, tmp_path / "a")
    assert files == prepared(recbole, tmp_path / "b")
    lines = [line for text in files.values() for line in text.splitlines()[1:]]
    assert [len(text.splitlines()) - 1 for text in files.values()] == [8, 1, 2]
    assert set(lines) >= {
        "1,196,M,45,writer,1,8,Comedy",
        "0,22,M,56,other,267,0,unknown",
        "1,22,M,56,other,3,8,Animation^Children's",
        "1,186,F,1,executive,4,1,Horror",
        "0,196,M,45,writer,2,6,unknown",
    }
    assert files["train.csv"].startswith("Label,UserID,Gender,Age,Occupation,MovieID,Release,Genres\n")


@pytest.mark.parametrize(
    ("file", "line"), [("u.data", "1::2::3"), ("u.user", "1|24|X|writer|85711"), ("u.item", "1|Toy Story")]
)
def test_files_of_another_dataset(grouplens, tmp_path, file, line):
    (grouplens / file).write_text(f"{line}\n")
    with pytest.raises(RequestError, match=rf"{file}', line 1: .* is no line of"):
        prepared(grouplens, tmp_path / "a")
    assert not list(tmp_path.glob("a/*.csv"))


def test_bytes_that_are_not_utf8(recbole, tmp_path):
    file = recbole / "ml-100k.item"
    file.write_bytes(file.read_bytes().replace("é".encode(), b"\xe9"))
    with pytest.raises(RequestError, match="ml-100k.item', line 5: byte 0xe9 is not UTF-8 text"):
        prepared(recbole, tmp_path / "a")


def test_files_of_two_downloads(grouplens, tmp_path):
    _write(grouplens / "u.user", "|", [(*user, "85711") for user in USERS[1:]])
    with pytest.raises(RequestError, match="user 196 and item 1, of whom"):
        prepared(grouplens, tmp_path / "a")
