"""train_data divided into splits: whose rows they are, and what cannot be divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_support import make_spec, quiet, refused_and_unchanged

from fuxictr_qnn.data import Places, build_dataset
from fuxictr_qnn.data.raw import reading
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.raw.splits import divide
from fuxictr_qnn.data.spec import DatasetSpec

ROWS = 40
COLUMNS = [{"name": "row", "dtype": "int", "type": "numeric"}, {"name": "item", "dtype": "int"}]
CONFIG = {"train_data": "all.csv", "feature_cols": COLUMNS, "label_col": {"name": "label"}}


def frame(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Rows that know their number, with users and times in no order."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "item": rng.integers(0, 5, rows),
            "user": rng.choice(["ann", "bob", "cem", "dot"], rows),
            "time": rng.permutation(rows) * 10,
            "label": rng.integers(0, 2, rows),
        }
    )


def write(folder: Path, data: pl.DataFrame) -> Places:
    (folder / "own").mkdir(parents=True, exist_ok=True)
    data.write_csv(folder / "own" / "all.csv")
    return Places(data_root=folder)


def spec_of(**changes) -> DatasetSpec:
    return make_spec("own", {**CONFIG, **changes})


def built_rows(folder: Path, data: pl.DataFrame, **changes) -> dict[str, list[int]]:
    """The row numbers of each split of a build."""
    built = build_dataset(spec_of(**changes), write(folder, data), log=quiet)
    files = {split: getattr(built, split) for split in ("train", "valid", "test")}
    rows = {split: pl.read_parquet(file)["row"].cast(int).to_list() for split, file in files.items() if file}
    assert {split: len(numbers) for split, numbers in rows.items()} == built.facts["rows"]
    return rows


def test_sequential_is_the_end_of_the_file_as_in_fuxictr(tmp_path):
    rows = built_rows(tmp_path, frame(), valid_size=0.1, test_size=0.2)
    assert rows == {"train": list(range(28)), "valid": list(range(28, 32)), "test": list(range(32, 40))}


def test_random_is_a_seeded_draw_in_the_files_order(tmp_path):
    keys = {"valid_size": 0.1, "test_size": 5, "split_type": "random"}
    rows = built_rows(tmp_path, frame(), **keys)
    order = np.random.RandomState(2024).permutation(ROWS)
    assert rows["test"] == sorted(order[:5]) and rows["valid"] == sorted(order[5:9])
    assert rows["train"] == sorted(order[9:])
    assert built_rows(tmp_path, frame(), **keys) == rows
    assert built_rows(tmp_path, frame(), **keys, split_seed=1)["test"] != rows["test"]


def test_temporal_is_the_latest_and_keeps_a_moment_together(tmp_path):
    data = frame()
    rows = built_rows(tmp_path, data, valid_size=6, test_size=0.1, split_type="temporal", time_col="time")
    late = data.sort("time")["row"].to_list()
    assert set(rows["test"]) == set(late[-4:]) and set(rows["valid"]) == set(late[-10:-4])
    assert rows["valid"] == sorted(rows["valid"])
    tied = data.with_columns(time=pl.col("time") // 70)  # moments of 7 rows; the last one of 5
    codes = divide_frame(tmp_path, tied, valid_size=6, test_size=0.1, split_type="temporal", time_col="time")
    moments = [set(tied["time"].to_numpy()[codes == code]) for code in range(3)]
    assert moments[2] == {5} and moments[1] == {4} and moments[0] == {0, 1, 2, 3}


def divide_frame(folder: Path, data: pl.DataFrame, **changes) -> np.ndarray:
    """The split of each row, of a parquet file."""
    file = folder / "all.parquet"
    data.write_parquet(file)
    spec = spec_of(data_format="parquet", **changes)
    return divide(spec, RawFiles([file], spec))


def per_user_by_hand(data: pl.DataFrame, valid: float, test: float) -> np.ndarray:
    codes = np.zeros(len(data), int)
    for user in data["user"].drop_nulls().unique():
        own = data.filter(pl.col("user") == user).sort("time", maintain_order=True)["row"].to_numpy()
        tested, validated = (
            size if size >= 1 else int(np.floor(size * len(own) + 0.5)) for size in (test, valid)
        )
        if tested + validated < len(own):
            codes[own[len(own) - tested :]] = 2
            codes[own[len(own) - tested - validated : len(own) - tested]] = 1
    return codes


@pytest.mark.parametrize("sizes", [(1, 1), (0.2, 0.3), (9, 1)])
def test_per_user_is_the_last_of_each_user(tmp_path, sizes):
    data = frame(70).with_columns(
        user=pl.when(pl.col("row") == 7).then(pl.lit("once")).when(pl.col("row") % 9 != 0).then("user"),
        time=pl.col("time") // 50,  # ties: the file's order decides
    )
    keys = {"valid_size": sizes[0], "test_size": sizes[1], "split_type": "per_user", "time_col": "time"}
    codes = divide_frame(tmp_path, data, **keys, split_by="user")
    np.testing.assert_array_equal(codes, per_user_by_hand(data, *sizes))
    assert set(codes[::9]) == {0} and codes[7] == 0  # nobody's rows, and those of who is there once
    without_time = {key: value for key, value in keys.items() if key != "time_col"}
    in_order = divide_frame(tmp_path, data, **without_time, group_id="user")
    np.testing.assert_array_equal(in_order, per_user_by_hand(data.with_columns(time=0), *sizes))


@pytest.mark.parametrize(
    "form",
    [
        pl.from_epoch(pl.col("time") * 1000, time_unit="s"),
        pl.from_epoch(pl.col("time") * 1000, time_unit="s").dt.replace_time_zone("Asia/Tokyo"),
        pl.from_epoch(pl.col("time"), time_unit="d"),
        pl.from_epoch(pl.col("time") * 1000, time_unit="s").dt.to_string("%Y-%m-%d %H:%M:%S"),
        pl.from_epoch(pl.col("time") * 1000, time_unit="s").dt.to_string("%Y-%m-%dT%H:%MZ"),
        pl.from_epoch(pl.col("time"), time_unit="d").dt.to_string("%Y-%m-%d"),
        pl.col("time").cast(pl.String),
        pl.col("time") / 7 - 3,
        (pl.col("time") / 7).cast(pl.String),
    ],
)
def test_times_in_any_form_give_one_order(tmp_path, form):
    keys = {"valid_size": 0.2, "split_type": "temporal", "time_col": "time"}
    expected = divide_frame(tmp_path, frame(), **keys)
    np.testing.assert_array_equal(divide_frame(tmp_path, frame().with_columns(time=form), **keys), expected)


def test_blocks_and_part_files_change_nothing(tmp_path, monkeypatch):
    keys = {"valid_size": 0.2, "test_size": 0.1, "split_type": "random"}
    whole = built_rows(tmp_path / "whole", frame(400), **keys)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 500)
    assert built_rows(tmp_path / "blocks", frame(400), **keys) == whole
    parts = tmp_path / "parts" / "own" / "all"
    parts.mkdir(parents=True)
    frame(400)[:150].write_csv(parts / "1.csv")
    frame(400)[150:].write_csv(parts / "2.csv")
    assert built_rows(tmp_path / "parts", frame(400), **keys, train_data="all") == whole


def test_users_of_part_files_in_two_types(tmp_path):
    data = frame().with_columns(user=pl.col("row") % 4)
    spec = spec_of(data_format="parquet", valid_size=1, test_size=2, split_type="per_user", split_by="user")
    codes = []
    for dtype in (pl.Int64, pl.Float64):
        files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
        data[:15].write_parquet(files[0])
        data[15:].with_columns(pl.col("user").cast(dtype)).write_parquet(files[1])
        codes.append(divide(spec, RawFiles(files, spec)).tolist())
    assert codes[0] == codes[1]


def test_only_training_rows_make_vocabularies(tmp_path):
    data = frame().with_columns(item=pl.when(pl.col("row") >= 32).then(99).otherwise("item"))
    built = build_dataset(spec_of(valid_size=0.2), write(tmp_path, data), log=quiet)
    assert pl.read_parquet(built.train)["item"].max() == 5
    assert set(pl.read_parquet(built.valid)["item"]) == {6}  # unknown
    assert built.test is None and built.facts["rows"] == {"train": 32, "valid": 8}


def test_a_given_test_file_stays_whole(tmp_path):
    places = write(tmp_path, frame())
    frame(12, seed=1).write_csv(tmp_path / "own" / "test.csv")
    built = build_dataset(spec_of(valid_size=10, test_data="test.csv"), places, log=quiet)
    assert built.facts["rows"] == {"train": 30, "valid": 10, "test": 12}
    assert pl.read_parquet(built.test)["row"].to_list() == list(range(12))


def test_the_settings_are_part_of_the_fingerprint(tmp_path):
    places = write(tmp_path, frame())
    columns = [*COLUMNS, {"name": "user", "type": "meta"}]
    settings = [
        {"valid_size": 0.2},
        {"valid_size": 0.2, "split_type": "random"},
        {"valid_size": 0.2, "split_type": "random", "split_seed": 1},
        {"valid_size": 0.2, "split_type": "per_user", "group_id": "user"},
        {"valid_size": 0.2, "split_type": "per_user", "group_id": "item"},
    ]
    names = [
        build_dataset(spec_of(feature_cols=columns, **keys), places, log=quiet).fingerprint
        for keys in settings
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"valid_data": "all.csv", "valid_size": 0.1}, "valid_data and valid_size are both set"),
        ({"valid_size": 0.5, "test_size": 0.5}, "valid_size and test_size add up to 1: nothing is left"),
        ({"valid_size": 0.1, "split_type": "temporal"}, "split_type temporal needs time_col"),
        ({"valid_size": 0.1, "split_type": "per_user"}, "split_type per_user needs split_by (or group_id)"),
        ({"split_type": "random"}, "split_type random divides nothing: set valid_size or test_size"),
        ({"valid_size": 0.1, "split_type": "temporal", "time_col": "tiem"},
         "train_data has no column 'tiem' (time_col). Did you mean 'time'"),
        ({"valid_size": 0.1, "split_type": "per_user", "group_id": "users"},
         "train_data has no column 'users' (group_id). Did you mean 'user'?"),
        ({"valid_size": 0.01},
         "valid_size 0.01 (sequential): of the 40 rows in train_data none is left for valid"),
        ({"valid_size": 30, "test_size": 10, "split_type": "random"}, "none is left for train"),
        ({"test_size": 41}, "none is left for train"),
        ({"valid_size": 11, "split_type": "per_user", "split_by": "row"}, "none is left for valid"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided(tmp_path, keys, message):
    (problem,) = refused_and_unchanged(spec_of(**keys), write(tmp_path, frame()))
    assert message in problem


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "all.csv', line 19: time_col 'time' is missing: write numbers, or dates as"),
        (
            "3/14/2026",
            "all.csv', line 19: time_col 'time' is '3/14/2026', which cannot be ordered in time: write",
        ),
        ("2026-02-31", "is '2026-02-31', which cannot be ordered"),
        ("nan", "line 19: time_col 'time' is"),
        ("1773446400", "line 19: time_col 'time' is '1773446400', which cannot be ordered in time"),
    ],
)
def test_times_that_have_no_order(tmp_path, cell, message):
    times = pl.from_epoch(pl.col("time"), time_unit="d").dt.to_string("%Y-%m-%d")
    if cell == "nan":
        times = (pl.col("time") / 4).cast(pl.String)
    data = frame().with_columns(time=pl.when(pl.col("row") == 17).then(pl.lit(cell)).otherwise(times))
    spec = spec_of(valid_size=0.1, split_type="temporal", time_col="time")
    (problem,) = refused_and_unchanged(spec, write(tmp_path, data))
    assert message in problem


@pytest.mark.parametrize("size", [300, 10**6])
def test_times_of_two_kinds_are_refused_in_any_block(tmp_path, monkeypatch, size):
    """Seconds in the first blocks and dates in later ones have no order."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", size)
    dates = pl.from_epoch(pl.col("time"), time_unit="d").dt.to_string("%Y-%m-%d")
    times = pl.when(pl.col("row") < 300).then(pl.col("time").cast(pl.String)).otherwise(dates)
    data = frame(400).with_columns(time=times)
    spec = spec_of(valid_size=0.1, split_type="temporal", time_col="time")
    (problem,) = refused_and_unchanged(spec, write(tmp_path, data))
    assert "line 302: time_col 'time' is '19" in problem


def test_users_that_are_no_feature_are_text(tmp_path):
    """Whatever the first rows look like: 7 and 007 are two users, and u150 may follow."""
    users = ["7", "007"] * 60 + ["u150"] * 4 + [""] * 2
    data = frame(len(users)).with_columns(user=pl.Series(users))
    rows = built_rows(tmp_path, data, test_size=1, split_type="per_user", split_by="user")
    assert rows["test"] == [118, 119, 123]


def test_truth_values_are_no_times(tmp_path):
    keys = {"valid_size": 0.1, "split_type": "temporal", "time_col": "time"}
    with pytest.raises(Exception, match="time_col 'time' holds Boolean, which has no order in time"):
        divide_frame(tmp_path, frame().with_columns(time=pl.col("row") > 3), **keys)


@pytest.mark.parametrize("size", [1.0, 1.5, -0.1, -3, True, "0.1", float("nan")])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="a fraction between 0 and 1, or a whole number of rows"):
        spec_of(valid_size=size)


@pytest.mark.parametrize("size", [0, 0.0, None, False])
def test_fuxictrs_words_for_no_split(size):
    assert spec_of(valid_size=size, test_size=size).divided == {}


def test_encoded_data_is_not_divided(tmp_path):
    spec = spec_of(rebuild_dataset=False, valid_size=0.1, data_format="parquet")
    problems = refused_and_unchanged(spec, write(tmp_path, frame()))
    assert any("valid_size: this data is encoded already" in problem for problem in problems)
