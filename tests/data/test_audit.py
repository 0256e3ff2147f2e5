"""`audit` finds what spoils results, and is quiet where nothing does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_support import item_info, make_spec, quiet
from sklearn.metrics import roc_auc_score

from fuxictr_qnn.data import Places
from fuxictr_qnn.data.quality.audit import Audit, Finding, audit
from fuxictr_qnn.data.quality.audit.counts import Counts, auc, carried_auc
from fuxictr_qnn.data.quality.audit.hashing import cell_hashes, row_keys, together
from fuxictr_qnn.data.quality.audit.sample import Sample
from fuxictr_qnn.errors import RequestError

COLUMNS = [
    {"name": ["user", "age", "item", "hour"], "dtype": "int", "type": "categorical"},
    {"name": "tags", "dtype": "str", "type": "sequence"},
    {"name": "price", "dtype": "float", "type": "numeric"},
]
Frames = dict[str, pl.DataFrame]


def log_of_clicks(seed: int, rows: int = 6000) -> Frames:
    """A click log with effects of users, items and prices, cut at random."""
    rng = np.random.default_rng(seed)
    user, item = rng.zipf(1.4, rows) % 200, rng.zipf(1.3, rows) % 150
    liking, appeal, tags = rng.normal(size=200), rng.normal(size=150), rng.integers(0, 6, (150, 2))
    price = (rng.gamma(2, 10, rows) + item % 7).round(2)
    logit = 0.7 * liking[user] + 0.7 * appeal[item] - 0.03 * (price - 20) - 1
    frame = pl.DataFrame(
        {
            "user": user,
            "age": user % 7,
            "item": item,
            "hour": rng.integers(0, 24, rows),
            "tags": [f"t{a}^t{b}" for a, b in tags[item]],
            "price": price,
            "label": (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    return cut(frame)


def cut(frame: pl.DataFrame) -> Frames:
    """Four sixths, one and one, in order."""
    sixth = frame.height // 6
    return {"train": frame[: 4 * sixth], "valid": frame[4 * sixth : 5 * sixth], "test": frame[5 * sixth :]}


def audited(folder: Path, frames: Frames, more: list[dict[str, Any]] | None = None, **changes: Any) -> Audit:
    """The audit of frames as CSV."""
    (folder / "shop").mkdir(exist_ok=True)
    for split, frame in frames.items():
        frame.write_csv(folder / "shop" / f"{split}.csv")
    options = {key: changes.pop(key) for key in ("time_column", "sample") if key in changes}
    config = {
        **{f"{split}_data": f"{split}.csv" for split in frames},
        "feature_cols": [*COLUMNS, *(more or [])],
        "label_col": {"name": "label", "dtype": "float"},
    }
    return audit(make_spec("shop", config | changes), Places(data_root=folder), log=quiet, **options)


def of(result: Audit, check: str, *severities: str) -> list[Finding]:
    severities = severities or ("severe", "warning", "note")
    return [item for item in result.findings if item.check == check and item.severity in severities]


def bad(result: Audit) -> list[Finding]:
    return [item for item in result.findings if item.severity in ("severe", "warning")]


def changed(frames: Frames, change: Any) -> Frames:
    return {split: change(split, frame) for split, frame in frames.items()}


@pytest.mark.parametrize("seed", range(5))
def test_quiet_on_clean_data(tmp_path: Path, seed: int) -> None:
    assert bad(audited(tmp_path, log_of_clicks(seed))) == []


@pytest.mark.parametrize("seed", range(2))
def test_equal_rows_of_few_values_are_no_alarm(tmp_path: Path, seed: int) -> None:
    frames = changed(
        log_of_clicks(seed),
        lambda _, frame: frame.with_columns(
            user=0, age=1, item=pl.col("item") % 5, tags=pl.lit(""), price=1.0
        ),
    )
    result = audited(tmp_path, frames)
    assert bad(result) == []
    assert of(result, "copies", "note") and of(result, "label conflicts", "note")


@pytest.mark.parametrize("seed", range(2))
def test_quiet_on_tiny_and_on_rare_positives(tmp_path: Path, seed: int) -> None:
    rare = changed(
        log_of_clicks(seed),
        lambda split, frame: frame.with_columns(label=pl.int_range(pl.len()).is_in([1, 5, 9, 400]).cast(int)),
    )
    assert bad(audited(tmp_path, rare)) == []
    tiny = audited(tmp_path, changed(log_of_clicks(seed), lambda split, frame: frame[:60]))
    assert {item.check for item in bad(tiny)} <= {"unseen ids"}  # many are, in 60 rows


@pytest.mark.parametrize("same_order", [True, False])
def test_valid_that_is_the_test_split(tmp_path: Path, same_order: bool) -> None:
    frames = log_of_clicks(1)
    frames["valid"] = (
        frames["test"] if same_order else frames["test"].sample(fraction=1, shuffle=True, seed=1)
    )
    (found,) = of(audited(tmp_path, frames), "shared rows", "severe")
    assert found.sentence.startswith("valid and test hold the same 1,000 rows")


def test_one_file_for_two_splits(tmp_path: Path) -> None:
    frames = log_of_clicks(1)
    result = audited(tmp_path, frames, valid_data="test.csv")
    (found,) = of(result, "shared rows", "severe")
    assert "the same file" in found.sentence and result.is_severe


@pytest.mark.parametrize(
    ("rows", "words"), [(1000, "all 1,000 rows of test"), (200, "200 of 1,000 rows of test")]
)
def test_test_rows_copied_from_training(tmp_path: Path, rows: int, words: str) -> None:
    frames = log_of_clicks(2)
    frames["test"] = pl.concat([frames["train"].sample(rows, seed=1), frames["test"][: 1000 - rows]])
    (found,) = of(audited(tmp_path, frames), "shared rows", "severe")
    assert found.sentence.startswith(words) and found.numbers["test_rows_shared"] == rows


def test_repeated_rows_and_static_histories_as_in_tenrec(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    whole = pl.concat(log_of_clicks(3).values())
    histories = rng.integers(0, 10_000, (200, 2))
    whole = whole.with_columns(
        hist_1=pl.Series(histories[whole["user"], 0]), hist_2=pl.Series(histories[whole["user"], 1])
    )
    whole = pl.concat([whole, whole.sample(fraction=0.01, seed=1)]).sample(fraction=1, shuffle=True, seed=2)
    more = [{"name": ["hist_1", "hist_2"], "dtype": "int", "type": "categorical"}]
    result = audited(tmp_path, cut(whole), more)
    frames = cut(whole)
    train = frames["train"]
    copies = of(result, "copies", "warning")[0]
    assert copies.numbers["copies"] == train.height - train.unique().height
    shared = of(result, "shared rows", "warning")
    assert shared and not result.is_severe
    both = frames["test"].join(train.unique(), on=train.columns, how="semi").height
    assert shared[-1].numbers["test_rows_shared"] == both
    (static,) = of(result, "constant in user")
    assert static.numbers["columns"] == ["age", "hist_1", "hist_2"]


@pytest.mark.parametrize(
    ("kind", "leak"),
    [
        ("categorical", pl.col("label").replace_strict({0: "a", 1: "b"})),
        ("categorical", pl.col("label") * 1000 + pl.col("hour")),
        ("categorical", pl.when(pl.col("label") == 1).then(pl.col("user")).otherwise(None)),
        ("numeric", pl.col("label") * 3.0 + (pl.col("price") % 1)),
        ("numeric", -((pl.col("label") - 0.5).abs() + pl.col("label") * 1e-6)),
        ("sequence", pl.col("tags") + pl.col("label").replace_strict({0: "", 1: "^z"})),
    ],
)  # fmt: skip
def test_a_column_made_from_the_label(tmp_path: Path, kind: str, leak: pl.Expr) -> None:
    frames = changed(log_of_clicks(4), lambda _, frame: frame.with_columns(leak=leak))
    dtype = "float" if kind == "numeric" else "str"
    found = of(
        audited(tmp_path, frames, [{"name": "leak", "dtype": dtype, "type": kind}]), "label leak", "severe"
    )
    assert found and all("leak" in item.numbers["feature"] for item in found)


def test_a_noisy_copy_of_the_label_stands_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)

    def flip(_: str, frame: pl.DataFrame) -> pl.DataFrame:
        flipped = rng.random(frame.height) < 0.1
        return frame.with_columns(leak=pl.Series(np.where(flipped, 1 - frame["label"], frame["label"])))

    result = audited(
        tmp_path, changed(log_of_clicks(5), flip), [{"name": "leak", "dtype": "int", "type": "categorical"}]
    )
    (found,) = of(result, "label leak", "warning")
    assert found.numbers["feature"] == "leak" and 0.85 < found.numbers["auc"]["test"] < 0.95


def test_a_feature_counted_from_labels_of_training(tmp_path: Path) -> None:
    """The click rate of a (user, hour), the row's own click among it, as carelessly made features have it."""
    frames = log_of_clicks(6)
    rates = frames["train"].group_by("user", "hour").agg(ctr=pl.col("label").mean())

    def with_rate(_: str, frame: pl.DataFrame) -> pl.DataFrame:
        joined = frame.join(rates, on=["user", "hour"], how="left", maintain_order="left")
        return joined.with_columns(pl.col("ctr").fill_null(0.3))

    frames = changed(frames, with_rate)
    result = audited(tmp_path, frames, [{"name": "ctr", "dtype": "float", "type": "numeric"}])
    assert {item.numbers["feature"] for item in of(result, "fading feature")} >= {"size of ctr"}


def test_ids_unknown_to_training(tmp_path: Path) -> None:
    frames = log_of_clicks(7)
    frames["test"] = frames["test"].with_columns(
        item=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("item") + 10_000).otherwise("item"),
    )
    (found,) = of(audited(tmp_path, frames), "unseen ids", "warning")
    assert found.numbers["never_in_training"]["item"] == pytest.approx(0.5, abs=0.02)
    assert found.sentence.startswith("test: ")

    counts = frames["train"]["user"].value_counts()
    kept = counts.filter(pl.col("count") >= 5)["user"]
    expected = 1 - frames["valid"]["user"].is_in(kept.implode()).mean()
    result = audited(tmp_path, frames, min_categr_count=5)
    numbers = next(
        item.numbers
        for item in result.findings
        if item.check == "unseen ids" and item.numbers["split"] == "valid"
    )
    assert numbers["unknown_id"]["user"] == pytest.approx(expected)


def test_values_written_in_another_way(tmp_path: Path) -> None:
    frames = changed(
        log_of_clicks(8),
        lambda split, frame: frame.with_columns(city=pl.col("hour").cast(float if split == "test" else int)),
    )
    result = audited(tmp_path, frames, [{"name": "city", "dtype": "str", "type": "categorical"}])
    (found,) = of(result, "unseen ids", "severe")
    assert "city" in found.sentence


def test_numbers_that_pandas_writes_in_another_way_are_the_same_values(tmp_path: Path) -> None:
    """A parquet file holds 7.0 for 7 where a cell of the column is missing. A build takes them for equal."""
    (tmp_path / "shop").mkdir()
    for split, frame in log_of_clicks(8).items():
        hour = pl.col("hour").cast(pl.Float64 if split == "test" else pl.Int64)
        frame.with_columns(hour).write_parquet(tmp_path / "shop" / f"{split}.parquet")
    paths = {f"{split}_data": f"{split}.parquet" for split in ("train", "valid", "test")}
    config = {"data_format": "parquet", **paths, "feature_cols": COLUMNS, "label_col": {"name": "label"}}
    assert bad(audit(make_spec("shop", config), Places(data_root=tmp_path), log=quiet)) == []


def test_what_a_feature_is_made_from_is_read_as_in_a_build(tmp_path: Path) -> None:
    """A column without a declared type has that of training, whatever the first rows of valid look like."""
    frames = log_of_clicks(8)
    whole = pl.int_range(pl.len()) < 300
    frames["valid"] = frames["valid"].with_columns(
        price=pl.when(whole).then(pl.col("price").round().cast(pl.Int64).cast(pl.String)).otherwise("price")
    )
    column = {"name": "cost", "dtype": "float", "type": "numeric", "preprocess": "copy_from(paid)"}
    renamed = changed(frames, lambda split, frame: frame.rename({"price": "paid"}))
    result = audited(tmp_path, renamed, feature_cols=[*COLUMNS[:2], column])
    assert result.rows["valid"] == frames["valid"].height


def test_missing_constant_and_empty_columns(tmp_path: Path) -> None:
    frames = changed(
        log_of_clicks(9),
        lambda split, frame: frame.with_columns(
            city=pl.when(split != "test").then(pl.col("hour")), same=pl.lit(3), empty=pl.lit(None, pl.String)
        ),
    )
    more = [{"name": ["city", "same", "empty"], "dtype": "str", "type": "categorical"}]
    result = audited(tmp_path, frames, more)
    (absent,) = of(result, "missing cells", "warning")
    assert absent.numbers == {"split": "test", "missing": {"city": (0.0, 1.0)}}
    (constant,) = of(result, "constant columns", "note")
    assert constant.numbers == {"constant": ["same"], "empty": ["empty"]}


def test_shift_names_what_drives_it(tmp_path: Path) -> None:
    frames = log_of_clicks(10)
    frames["test"] = frames["test"].with_columns(hour=pl.col("hour") // 4, price=pl.col("price") + 15)
    (found,) = of(audited(tmp_path, frames), "shift")
    assert found.severity == "warning" and found.numbers["split"] == "test"
    best = sorted(found.numbers["by_feature"], key=found.numbers["by_feature"].get)[-2:]
    assert set(best) == {"hour", "price"}


@pytest.mark.parametrize("as_text", [False, True])
def test_overlapping_times(tmp_path: Path, as_text: bool) -> None:
    moments = pl.Series("when", 1_700_000_000 + np.arange(6000) * 60)
    if as_text:
        moments = pl.from_epoch(moments).dt.to_string("%Y-%m-%d %H:%M:%S")
    whole = pl.concat(log_of_clicks(11).values()).with_columns(moments)
    in_order = audited(tmp_path, cut(whole), time_column="when")
    assert len(of(in_order, "time", "ok")) == 3 and bad(in_order) == []
    shuffled = audited(tmp_path, cut(whole.sample(fraction=1, shuffle=True, seed=1)), time_column="when")
    assert len(of(shuffled, "time", "warning")) == 3
    assert ("2023-11-14" in of(shuffled, "time")[0].sentence) == as_text


def test_labels(tmp_path: Path) -> None:
    frames = log_of_clicks(12)
    frames["valid"] = frames["valid"].with_columns(label=pl.when(pl.col("hour") > 0).then("label"))
    frames["test"] = frames["test"].with_columns(label=1)
    result = audited(tmp_path, frames)
    sentences = " ".join(item.sentence for item in of(result, "labels", "severe"))
    assert (
        "valid: " in sentences
        and "have no label" in sentences
        and "test: all labels are positive" in sentences
    )

    frames = log_of_clicks(12)
    frames["test"] = pl.concat([frames["test"].filter(pl.col("label") == 1), frames["test"]])
    (rate,) = of(audited(tmp_path, frames), "positive rate")
    assert rate.severity == "warning"

    ratings = changed(log_of_clicks(12), lambda _, frame: frame.with_columns(label=pl.col("label") * 2 + 3))
    assert of(audited(tmp_path, ratings), "labels", "note")


def test_splits_that_are_cut_from_one_file(tmp_path: Path) -> None:
    whole = pl.concat(log_of_clicks(13).values())
    result = audited(tmp_path, {"train": whole}, valid_size=0.1, test_size=0.2, split_type="random")
    assert result.rows == {"train": 4200, "valid": 600, "test": 1200}
    assert bad(result) == []


def test_a_history_that_holds_the_clicked_item(tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    (tmp_path / "next").mkdir()
    for split, rows in {"train": 2000, "valid": 500}.items():
        item, label = rng.integers(1, 6, rows), rng.integers(0, 2, rows)
        history = rng.integers(6, 50, (rows, 8))
        history[:, :3] = 0
        history[label == 1, 5] = item[label == 1]
        frame = pl.DataFrame(
            {
                "user_id": rng.integers(0, 9, rows),
                "item_seq": history.tolist(),
                "item_id": item,
                "label": label,
            }
        )
        frame.write_parquet(tmp_path / "next" / f"{split}.parquet")
    item_info().write_parquet(tmp_path / "next" / "item_info.parquet")
    config = {
        "data_format": "parquet",
        "rebuild_dataset": False,
        "train_data": "train.parquet",
        "valid_data": "valid.parquet",
        "item_info": "item_info.parquet",
        "feature_cols": [
            {"name": "user_id", "dtype": "int", "type": "meta"},
            {"name": "item_seq", "dtype": "int", "type": "meta", "max_len": 8},
            {"name": "item_id", "dtype": "int", "type": "categorical", "source": "item", "vocab_size": 6},
            {
                "name": "tags",
                "dtype": "int",
                "type": "sequence",
                "source": "item",
                "vocab_size": 9,
                "max_len": 3,
            },
        ],
        "label_col": {"name": "label", "dtype": "float"},
        "group_id": "user_id",
    }
    result = audit(make_spec("next", config), Places(data_root=tmp_path), log=quiet)
    (found,) = of(result, "label leak", "severe")
    assert found.numbers["feature"] == "item_id in item_seq" and found.numbers["auc"]["valid"] == 1.0


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_encoded_arrays_and_their_feature_map(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(15)
    folder = tmp_path / "enc"
    folder.mkdir()
    features = {
        "user": {"type": "categorical", "vocab_size": 20, "padding_idx": 0},
        "tags": {"type": "sequence", "vocab_size": 9, "max_len": 3, "padding_idx": 0},
        "price": {"type": "numeric"},
    }
    content = {
        "dataset_id": "enc",
        "labels": ["label"],
        "features": [{key: value} for key, value in features.items()],
    }
    (folder / "feature_map.json").write_text(json.dumps(content))
    arrays = {
        "user": rng.integers(1, 20, 900),
        "tags": rng.integers(0, 8, (900, 3)),
        "price": rng.normal(size=900),
        "label": rng.integers(0, 2, 900),
    }
    for split, rows in (("train", slice(0, 500)), ("valid", slice(500, 700)), ("test", slice(500, 700))):
        part = {name: array[rows] for name, array in arrays.items()}
        if suffix == "npz":
            np.savez(folder / f"{split}.npz", **part)
        else:
            import h5py

            with h5py.File(folder / f"{split}.h5", "w") as file:
                file["data"] = np.column_stack([array.astype(float) for array in part.values()])
    paths = {f"{split}_data": f"enc/{split}.{suffix}" for split in ("train", "valid", "test")}
    config = {"data_format": suffix, "label_col": {"name": "label", "dtype": "float"}, **paths}
    result = audit(make_spec("enc", config), Places(data_root=tmp_path), log=quiet)
    (found,) = of(result, "shared rows", "severe")
    assert found.numbers["valid_rows_shared"] == 200
    assert {"user", "tags", "tokens of tags", "size of price"} <= {
        name for item in of(result, "single features", "ok") for name in item.numbers["auc"]
    }


def test_infinite_numbers(tmp_path: Path) -> None:
    """1e400 in a CSV is read as infinity, which a build refuses."""
    frames = log_of_clicks(17, rows=600)
    place = pl.int_range(pl.len()).is_in([3, 7])
    frames["train"] = frames["train"].with_columns(
        price=pl.when(place).then(pl.lit("1e400")).otherwise(pl.col("price").cast(str))
    )
    result = audited(tmp_path, frames)
    (found,) = of(result, "infinite numbers", "severe")
    assert found.sentence.startswith("train: ") and found.numbers["infinite"] == {"price": 2}
    assert not of(audited(tmp_path, log_of_clicks(17, rows=600)), "infinite numbers")


def test_what_is_fine_is_one_line_a_check_and_counted_last(tmp_path: Path) -> None:
    result = audited(tmp_path, log_of_clicks(1))
    fine = [check for severity, check, _ in result.lines if severity == "ok"]
    assert fine and len(fine) == len(set(fine))
    assert ("ok", "unseen ids", "valid, test: less than 1.00 % unknown ids in every feature") in result.lines
    counted = sum(finding.severity == "ok" for finding in result.findings)
    assert result.summary.endswith(f", {counted} ok") and counted > len(fine)


def test_wrong_requests(tmp_path: Path) -> None:
    frames = log_of_clicks(16, rows=60)
    with pytest.raises(RequestError, match="Did you mean 'hour'"):
        audited(tmp_path, frames, time_column="hours")
    with pytest.raises(RequestError, match="--time-col tags: .* is no time: write numbers, or dates"):
        audited(tmp_path, frames, time_column="tags")
    with pytest.raises(RequestError, match="--sample 1"):
        audited(tmp_path, frames, sample=1)
    with pytest.raises(RequestError, match="'shop/train.csv' is at none of"):
        audited(tmp_path / "..", {}, train_data="shop/train.csv", valid_data="shop/valid.csv")
    frames["valid"] = frames["valid"][:0]
    with pytest.raises(RequestError, match=r"valid_data: .* has no rows"):
        audited(tmp_path, frames)


def test_the_same_every_time_and_with_any_sample(tmp_path: Path) -> None:
    first, second = (audited(tmp_path, log_of_clicks(17)).as_dict() for _ in range(2))
    assert json.dumps(first["findings"]) == json.dumps(second["findings"])
    few = audited(tmp_path, log_of_clicks(17), sample=500)
    assert few.sampled == {"train": 500, "valid": 500, "test": 500} and bad(few) == []


def test_the_sample_is_the_same_however_rows_come(tmp_path: Path) -> None:
    values = np.arange(5000)
    taken = []
    for size in (5000, 700, 33):
        sample = Sample(100)
        for start in range(0, 5000, size):
            sample.add(start, {"x": values[start : start + size]})
        sample.close()
        taken.append(sample.columns["x"].tolist())
    assert taken[0] == taken[1] == taken[2] and len(set(taken[0])) == 100
    assert abs(np.mean(taken[0]) - 2500) < 600


def test_row_keys_tell_rows_apart() -> None:
    """As many different keys as rows; a label is part of them, and its features are still comparable."""
    grid = np.arange(100_000)
    frame = pl.DataFrame({"a": grid % 200, "b": (grid // 200).astype(str), "c": grid % 2 / 7})
    features = together(list(cell_hashes(frame, frame.columns).values()), frame.height)
    label = (grid % 3 == 0).astype(float)
    keys, others = row_keys(features, label), row_keys(features, 1 - label)
    assert len(np.unique(keys)) == frame.height
    assert not np.intersect1d(keys, others).size
    assert (keys >> np.uint64(2) == others >> np.uint64(2)).all()


def test_auc_of_groups_is_the_auc_of_rows() -> None:
    rng = np.random.default_rng(18)
    values, label = rng.integers(0, 40, 3000), rng.integers(0, 2, 3000)
    score = rng.integers(0, 9, 40) / 9
    positives, rows = np.bincount(values, label, 40), np.bincount(values, minlength=40)
    assert auc(score, positives, rows - positives) == pytest.approx(roc_auc_score(label, score[values]))

    half = rng.random(3000) < 0.5
    tables = []
    for part in (slice(0, 2000), slice(2000, None)):
        counts = Counts()
        for block in (slice(0, 500), slice(500, None)):
            hashes = pl.Series(values[part][block]).hash(2019).to_numpy()
            counts.add(hashes, half[part][block], label[part][block] == 1)
        tables.append(counts.table())
    train_rows, train_positives = (
        np.bincount(values[:2000], minlength=40),
        np.bincount(values[:2000], label[:2000], 40),
    )
    rate = train_positives.sum() / 2000
    encoded = (train_positives + 10 * rate) / (train_rows + 10)
    assert carried_auc(*tables) == pytest.approx(roc_auc_score(label[2000:], encoded[values[2000:]]))
