"""Recipes from MovieLens-1M."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_support import config_of

from fuxictr_qnn.data import recipes
from fuxictr_qnn.data.download.checksum import md5_of
from fuxictr_qnn.data.recipes import ml1m_next
from fuxictr_qnn.data.recipes.movielens import NEEDS, read_movielens
from fuxictr_qnn.errors import RequestError


def small(seed: int = 1, users: int = 60, movies: int = 400, each: int = 40) -> dict[str, list[str]]:
    """Lines of a small MovieLens-1M; each user rates `each` films, in shuffled order of time."""
    rng = random.Random(seed)
    genres = ["Action", "Children's", "Comedy", "Drama", "Film-Noir", "War"]
    ratings = []
    for user in range(1, users + 1):
        for movie in rng.sample(range(1, movies + 1), each):
            ratings.append(f"{user}::{2 * movie}::{rng.randint(1, 5)}::{978300000 + rng.randrange(100)}")
    return {
        "ratings": ratings,
        "users": [f"{user}::{'FM'[user % 2]}::25::{user % 21}::55455-2" for user in range(1, users + 1)],
        "movies": [
            f"{2 * movie}::Film: {movie}, Th\xe9 ({1915 + movie % 86})::{'|'.join(genres[: 1 + movie % 6])}"
            for movie in range(1, movies + 1)
        ],
    }


def write_raw(folder: Path, content: dict[str, list[str]], newline: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in content.items():
        (folder / f"{name}.dat").write_bytes((newline.join(lines) + newline).encode("latin-1"))
    return folder


def quiet(line: str) -> None:
    pass


class TestTask:
    """ml_1m_x1."""

    def test_the_real_files_byte_for_byte(self, test_data, tmp_path):
        made = recipes.prepare("ml_1m_x1", test_data / "ml_1m_raw", tmp_path / "data", quiet)
        for name, file in made.items():
            assert file.read_bytes() == (test_data / "ml_1m_x1" / name).read_bytes()
        expected = config_of("ml_1m_x1")["expected"]["md5"]
        assert {name: md5_of(file) for name, file in made.items()} == expected

    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_written_out_again(self, tmp_path, newline):
        content = small()
        recipes.prepare("ml_1m_x1", write_raw(tmp_path / "raw", content, newline), tmp_path / "data", quiet)
        users = {line.split("::")[0]: line.split("::") for line in content["users"]}
        movies = {line.split("::")[0]: line.split("::") for line in content["movies"]}
        rows = []
        for user, movie, rating, _ in (line.split("::") for line in content["ratings"]):
            year = int(movies[movie][1][-5:-1])
            release = 1 if year < 1930 else 8 if year >= 1990 else (year - 1910) // 10
            genres = movies[movie][2].replace("|", "^")
            if rating != "3":
                rows.append([int(rating > "3"), *users[user][:4], movie, release, genres])
        random.seed(2019)
        random.shuffle(rows)
        cuts = [0, int(0.8 * len(rows)), int(0.9 * len(rows)), len(rows)]
        for split, start, end in zip(("train", "valid", "test"), cuts, cuts[1:], strict=False):
            lines = [",".join(map(str, row)) for row in rows[start:end]]
            text = "\n".join(["Label,UserID,Gender,Age,Occupation,MovieID,Release,Genres", *lines, ""])
            assert (tmp_path / "data" / f"{split}.csv").read_text() == text


class TestInput:
    @pytest.mark.parametrize(
        ("name", "line", "message"),
        [
            ("ratings", "1::2::6::978300000", "ratings.dat', line 3: '1::2::6::978300000' is not a line"),
            ("ratings", "1::2::3.5::978300000", "ratings.dat', line 3"),
            ("ratings", "UserID::MovieID::Rating::Timestamp", "ratings.dat', line 3"),
            ("ratings", "1,2,3,978300000", "ratings.dat', line 3"),
            ("ratings", "1::2::3::9783\xff", "ratings.dat', line 3: byte 0xff is not UTF-8"),
            ("ratings", "1::9999::3::978300000", "MovieID 9999, which '.*movies.dat' lacks"),
            ("ratings", "9999::2::3::978300000", "UserID 9999, which '.*users.dat' lacks"),
            ("users", "1::F::1::10", "users.dat', line 3"),
            ("users", "1::F::1::10::48067", "users.dat' has UserID 1 more than once"),
            ("movies", "12::Toy Story::Comedy", "movies.dat', line 3"),
        ],
    )
    def test_lines_of_other_files(self, tmp_path, name, line, message):
        content = small(users=5, each=5)
        content[name][2] = line
        with pytest.raises(RequestError, match=message):
            recipes.prepare("ml_1m_x1", write_raw(tmp_path / "raw", content), tmp_path / "data", quiet)
        assert not (tmp_path / "data").exists()

    def test_all_problems_at_once(self, tmp_path):
        content = small(users=5, each=5)
        for lines in content.values():
            lines[1] = "?"
        with pytest.raises(RequestError) as error:
            recipes.prepare("ml1m_next", write_raw(tmp_path / "raw", content), tmp_path / "data", quiet)
        assert len(error.value.problems) == 3


class TestNext:
    """ml1m_next."""

    def frames(self, folder: Path) -> dict[str, pl.DataFrame]:
        return {split: pl.read_parquet(folder / f"{split}.parquet") for split in ml1m_next.SPLITS}

    def test_rules(self, tmp_path):
        content = small(users=80, movies=300, each=60)
        raw = write_raw(tmp_path / "raw", content)
        log = []
        recipes.prepare("ml1m_next", raw, tmp_path / "data", log.append)
        assert any("WARNING: item_emb_d128 is made from the words" in line for line in log)
        number = {line.split("::")[0]: at for at, line in enumerate(content["movies"], 1)}
        rated: dict[int, list] = {}
        for user, movie, rating, time in (line.split("::") for line in content["ratings"]):
            rated.setdefault(int(user), []).append((int(time), number[movie], rating))
        liked = {
            user: [item for _, item, rating in sorted(rows, key=lambda row: row[0]) if rating in "45"]
            for user, rows in rated.items()
        }
        frames = self.frames(tmp_path / "data")
        users = [items for items in liked.values() if len(items) >= 10]
        training = {item for items in users for item in items[: int(0.8 * len(items))]}
        for at, split in enumerate(ml1m_next.SPLITS):
            expected = []
            for user, items in sorted(liked.items()):
                cuts = [5, max(5, int(0.8 * len(items))), max(5, int(0.9 * len(items))), len(items)]
                for place in range(cuts[at], cuts[at + 1]) if len(items) >= 10 else ():
                    if items[place] in training:
                        expected.append((user, ([0] * 64 + items[:place])[-64:], items[place]))
            rows = frames[split].select("user_id", "item_seq", "item_id").rows()
            assert rows[::2] == expected
            assert [row[:2] for row in rows[1::2]] == [row[:2] for row in expected]
            assert all(item not in [film for _, film, _ in rated[user]] for user, _, item in rows[1::2])
            assert frames[split]["label"].to_list() == [1, 0] * len(expected)
        info = pl.read_parquet(tmp_path / "data" / "item_info.parquet")
        assert info["item_id"].to_list() == list(range(301))
        assert info["item_tags"].list.len().unique().to_list() == [5]
        assert info["item_emb_d128"].list.len().unique().to_list() == [128]
        assert not any(info["item_tags"][0]) and not any(info["item_emb_d128"][0])

    def test_vectors_that_are_there(self, tmp_path):
        raw = write_raw(tmp_path / "raw", small())
        given = pl.DataFrame(
            {
                "item_id": np.arange(401)[::-1],
                "item_emb_d128": pl.Series(np.arange(401.0)[::-1, None].repeat(128, 1)).arr.to_list(),
            }
        )
        given.write_parquet(raw / "item_info.parquet")
        recipes.prepare("ml1m_next", raw, tmp_path / "data", quiet)
        info = pl.read_parquet(tmp_path / "data" / "item_info.parquet")
        assert info["item_emb_d128"].list.first().to_list() == list(range(401))
        given.head(7).write_parquet(raw / "item_info.parquet")
        with pytest.raises(RequestError, match="vectors 7 x 128, but 400 films"):
            recipes.prepare("ml1m_next", raw, tmp_path / "data", quiet, force=True)

    def test_the_draw_is_the_published_one(self):
        """And does not change with NumPy; today's Generator still draws the same."""
        draws, numpys = ml1m_next.Draws(ml1m_next.SEED), np.random.default_rng(ml1m_next.SEED)
        drawn = [draws.integer(0, 101) for _ in range(12)]
        assert drawn == [30, 14, 39, 44, 50, 34, 32, 97, 75, 20, 20, 43]
        assert drawn == [numpys.integers(0, 101) for _ in range(12)]
        for count in [1, 2, 3, 101, 3 * 2**30, 2**31 + 1] * 300:  # of the last ones a third is drawn again
            assert draws.integer(5, 5 + count) == numpys.integers(5, 5 + count)

    def test_too_little_data(self, tmp_path):
        raw = write_raw(tmp_path / "raw", small(each=5))
        with pytest.raises(RequestError, match="no user has 10 ratings of 4 or 5"):
            recipes.prepare("ml1m_next", raw, tmp_path / "data", quiet)

    def test_the_real_rows(self, test_data):
        """Every like and level, and the first users' drawn films, from histories in their true order.

        Two fifths of the timestamps of the test data's ratings are interpolated, so the order of a user's
        likes is taken from the published rows; GroupLens' own file has it.
        """
        sources = {name: test_data / "ml_1m_raw" / f"{name}.dat" for name in NEEDS}
        data = read_movielens(sources)
        ids = {movie: at for at, movie in enumerate(data.movies["MovieID"], 1)}
        published = {
            split: pl.read_parquet(test_data / "ml1m_next" / f"{split}.parquet") for split in ml1m_next.SPLITS
        }
        users = _in_true_order(ml1m_next.users_of(data.ratings, ids), published)
        popularity = ml1m_next.Popularity.of(users, len(ids))
        drawn = {
            user.id: list(zip(user.liked[targets].tolist(), films, strict=True))
            for user, targets, films in islice(ml1m_next.draw_pairs(users, popularity.ranked()), 300)
        }
        last = max(drawn)
        rows = pl.concat(frame.filter(pl.col("user_id") <= last) for frame in published.values())
        for (user,), part in rows.group_by("user_id"):
            items = part["item_id"].to_list()
            assert drawn[user] == list(zip(items[::2], items[1::2], strict=True))
        items = pl.concat(frame.select("item_id", "likes_level") for frame in published.values()).unique()
        assert (ml1m_next.levels(popularity.likes)[items["item_id"]] == items["likes_level"].to_numpy()).all()


def _in_true_order(users: list[ml1m_next.User], published: dict[str, pl.DataFrame]) -> list[ml1m_next.User]:
    """The same users, their likes in the order in which the published histories grow."""
    rows = pl.concat(frame.filter(pl.col("label") == 1) for frame in published.values())
    rows = rows.sort("user_id", maintain_order=True)
    histories = rows["item_seq"].list.to_array(64).to_numpy()
    ids, first = np.unique(rows["user_id"].to_numpy(), return_index=True)
    targets = np.split(rows["item_id"].to_numpy(), first[1:])
    ordered = []
    for user, history, target in zip(users, np.split(histories, first[1:]), targets, strict=True):
        order = history[0][history[0] > 0].tolist()
        if (history[1:, -1] == target[:-1]).all():
            order += target.tolist()
        else:  # likes that gave no row stand between
            for later, item in zip(history[1:], target, strict=False):
                order += later[np.flatnonzero(later == item)[-1] :].tolist()
            order.append(int(target[-1]))
        known = set(order)
        order += [item for item in user.liked.tolist() if item not in known]
        items = user.items.copy()
        items[user.likes] = order
        ordered.append(user._replace(items=items))
    return ordered
