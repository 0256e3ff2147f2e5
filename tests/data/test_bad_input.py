"""Bad input: one message with every problem, exit code 2, nothing written."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from data_support import SMALL, make_spec, quiet, small_spec, write_small

from fuxictr_qnn.data import MemoryLoader, Places, build_dataset, load_feature_map, open_dataset
from fuxictr_qnn.data.encoded import folder as encoded_folder
from fuxictr_qnn.errors import RequestError, RunError


@pytest.fixture
def places(tmp_path) -> Places:
    return write_small(tmp_path)


@pytest.fixture
def folder(places) -> Path:
    return places.data_root / "small"


def refused(spec, places, **keys) -> list[str]:
    """The problems of a refused build, which must leave everything on disk as it was."""

    def everything() -> dict[Path, bytes | None]:
        root = places.data_root.parent
        return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}

    before = everything()
    with pytest.raises(RequestError) as caught:
        build_dataset(spec, places, log=quiet, **keys)
    assert caught.value.exit_code == 2
    assert everything() == before
    return caught.value.problems


def column(**changes) -> list[dict]:
    """The columns of SMALL, one of them changed."""
    return [
        {**entry, **changes} if entry["name"] == changes["name"] else entry for entry in SMALL["feature_cols"]
    ]


def test_missing_files_are_all_named_with_the_places_looked_at(places, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = Places(data_root=places.data_root, config_dir=tmp_path / "configs" / "mine")
    spec = small_spec(train_data="trian.csv", test_data="gone.csv")
    first, second = refused(spec, places)
    assert first.startswith("train_data: 'trian.csv' is at none of")
    for place in (tmp_path, tmp_path / "configs" / "mine", tmp_path / "configs", folder, places.data_root):
        assert str(place / "trian.csv") in first
    assert "--data-root" in first
    assert second == "test_data: 'gone.csv' is not there either"


def test_empty_file(places, folder):
    (folder / "valid.csv").write_bytes(b"")
    assert refused(small_spec(), places) == [f"valid_data: '{folder / 'valid.csv'}' is empty (0 bytes)"]


def test_file_with_a_header_only(places, folder):
    (folder / "test.csv").write_text("user,item,price,label\n")
    assert refused(small_spec(), places) == [f"test_data: '{folder / 'test.csv'}' has no rows"]


def test_folder_without_data_files(places, folder):
    (folder / "parts").mkdir()
    assert "holds no .csv file" in refused(small_spec(train_data="parts"), places)[0]


def test_missing_columns_are_all_named_with_the_nearest(places):
    columns = [{"name": ["usr", "prices"], "type": "categorical"}]
    spec = small_spec(feature_cols=columns, label_col={"name": "labels"})
    problems = refused(spec, places)
    assert problems == [
        "train_data has no label column 'labels'. Did you mean 'label'?",
        "train_data has no column 'prices'. Did you mean 'price'?",
        "train_data has no column 'usr'. Did you mean 'user'?",
    ]


def test_column_missing_in_one_split(places, folder):
    pl.read_csv(folder / "test.csv").rename({"item": "itme"}).write_csv(folder / "test.csv")
    (problem,) = refused(small_spec(), places)
    assert problem == f"'{folder / 'test.csv'}' has no column 'item'. Did you mean 'itme'?"


def test_label_that_is_no_click(places, folder):
    frame = pl.read_csv(folder / "valid.csv")
    frame[6, "label"] = 3
    frame.write_csv(folder / "valid.csv")
    (problem,) = refused(small_spec(), places)
    assert "valid.csv', line 8: label 'label' is 3.0" in problem and "task: regression" in problem


def test_regression_takes_any_label_and_classification_does_not_reuse_it(places, folder):
    frame = pl.read_csv(folder / "train.csv")
    frame.with_columns(label=frame["price"] * 1.5).write_csv(folder / "train.csv")
    built = build_dataset(small_spec(), places, task="regression", log=quiet)
    stored = pl.read_parquet(built.train)["label"]
    assert (stored - frame["price"] * 1.5).abs().max() < 1e-5
    with pytest.raises(RequestError, match="classification needs 0 or 1"):
        build_dataset(small_spec(), places, log=quiet)


def test_missing_label(places, folder):
    frame = pl.read_csv(folder / "train.csv")
    frame.with_columns(label=pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise("label")).write_csv(
        folder / "train.csv"
    )
    (problem,) = refused(small_spec(), places, task="regression")
    assert problem.endswith(
        "line 6: label 'label' is missing or not a finite number: correct the cell or remove the row"
    )


def test_text_in_numeric_columns_of_several_files(places, folder):
    for split, row, name, text in (
        ("train", 11, "item", "many"),
        ("train", 3, "price", "cheap"),
        ("test", 0, "price", "?"),
    ):
        frame = pl.read_csv(folder / f"{split}.csv", infer_schema=False)
        frame[row, name] = text
        frame.write_csv(folder / f"{split}.csv")
    problems = refused(small_spec(), places)
    assert [problem.split(";")[0] for problem in problems] == [
        f"'{folder / 'train.csv'}', line 13: column 'item' holds 'many', which is not an integer",
        f"'{folder / 'train.csv'}', line 5: column 'price' holds 'cheap', which is not a number",
        f"'{folder / 'test.csv'}', line 2: column 'price' holds '?', which is not a number",
    ]


def test_number_that_is_not_finite(places, folder):
    frame = pl.read_csv(folder / "train.csv")
    frame[1, "price"] = float("inf")
    frame.write_csv(folder / "train.csv")
    (problem,) = refused(small_spec(), places)
    assert "line 3: column 'price' is inf (infinite, or too large for a number): correct the cell" in problem


def test_vocabularies_that_min_categr_count_empties(places):
    spec = small_spec(min_categr_count=1000, feature_cols=column(name="item", min_categr_count=500))
    problems = refused(spec, places)
    largest = pl.read_csv(places.data_root / "small" / "train.csv")["item"].value_counts()["count"].max()
    assert len(problems) == 2 and "'user'" in problems[0] and "min_categr_count 1000" in problems[0]
    assert "column 'item': min_categr_count 500" in problems[1] and f"occurs {largest} times" in problems[1]


def test_problems_of_labels_and_vocabularies_come_together(places, folder):
    frame = pl.read_csv(folder / "train.csv").with_columns(label=pl.lit(2))
    frame.write_csv(folder / "train.csv")
    label, vocabulary = refused(small_spec(feature_cols=column(name="item", min_categr_count=500)), places)
    assert "label 'label' is 2.0" in label and "min_categr_count 500" in vocabulary


def test_valid_file_equal_to_test_file_is_a_loud_warning(places):
    built = build_dataset(small_spec(valid_data="test.csv"), places, log=quiet)
    assert len(built.warnings) == 1 and "test_data and valid_data hold the same rows" in built.warnings[0]
    assert build_dataset(small_spec(valid_data="test.csv"), places, log=quiet).warnings == built.warnings
    assert build_dataset(small_spec(), places, log=quiet).warnings == []


def parquet_spec(folder: Path):
    for split in ("train", "valid", "test"):
        pl.read_csv(folder / f"{split}.csv").write_parquet(folder / f"{split}.parquet")
    return small_spec(
        data_format="parquet", **{f"{split}_data": f"{split}.parquet" for split in ("train", "valid", "test")}
    )


@pytest.mark.parametrize("split", ["train", "test"])
def test_truncated_parquet(places, folder, split):
    spec = parquet_spec(folder)
    file = folder / f"{split}.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    (problem,) = refused(spec, places)
    assert problem.startswith(f"'{file}' is no parquet file or is cut off")


def test_parquet_columns_of_another_kind_in_one_split(places, folder):
    spec = parquet_spec(folder)
    frame = pl.read_parquet(folder / "test.parquet")
    frame.with_columns(pl.col("item").cast(pl.String)).write_parquet(folder / "test.parquet")
    (problem,) = refused(spec, places)
    assert "column 'item' holds String, but Int64 in train_data" in problem


def test_unwritable_build_folder(places, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    (problem,) = refused(small_spec(), Places(data_root=places.data_root, build_dir=locked))
    assert str(locked) in problem and "--build-dir" in problem


def test_unwritable_data_root_builds_in_the_cache(places, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder.chmod(0o555)
    built = build_dataset(small_spec(), places, log=quiet)
    assert built.folder.parent == tmp_path / "cache" / "fuxictr_qnn" / "small"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "user", "category_processor": "hash_bucket"}, "hash_bucket needs num_buckets"),
        ({"name": "price", "type": "embedding"}, "type embedding needs pretrain_dim"),
        ({"name": "item", "remap": False}, "remap: false works for type meta only"),
        ({"name": "user", "type": "meta", "remap": False}, "column 'user' of type meta needs whole numbers"),
        ({"name": "price", "type": "meta", "remap": False}, "but remap: false keeps whole numbers"),
        ({"name": "item", "share_embedding": "usr"}, "'usr' is no id column before this one. Did you mean"),
        ({"name": "user", "share_embedding": "item"}, "'item' is no id column before this one"),
        ({"name": "price", "type": "categorical", "share_embedding": "item"}, "the same dtype for both"),
        ({"name": "item", "share_embedding": "user"}, "text and numbers never match"),
        ({"name": "user", "type": "numeric"}, "column 'user' of type numeric needs numbers"),
        ({"name": "item", "type": "sequence"}, "column 'item' of type sequence needs text"),
        ({"name": "item", "preprocess": "convert_to_buckets"}, "Did you mean 'convert_to_bucket'"),
        ({"name": "item", "preprocess": "copy_from(itme)"}, "fill_na or preprocess does not fit"),
        ({"name": "user", "pretrained_emb": "users.npz"}, "column 'user': 'users.npz' is at none of"),
        ({"name": "user", "pretrained_emb": "train.csv"}, "has no usable keys"),
    ],
)  # fmt: skip
def test_columns_that_cannot_work(places, change, message):
    problems = refused(small_spec(feature_cols=column(**change)), places)
    assert any(message in problem for problem in problems), problems


def test_all_problems_of_the_config_at_once(places):
    columns = [{"name": "user", "remap": False}, {"name": "price", "type": "embedding"}, {"name": "user"}]
    problems = refused(small_spec(feature_cols=columns), places)
    assert len(problems) == 3 and "'user' is declared twice" in problems[0]


@pytest.mark.parametrize(
    "path", ["no_such_module:Class", "fuxictr_qnn.errors:NoSuchClass", "fuxictr_qnn.errors"]
)
def test_feature_processor_that_is_not_there(places, path):
    (problem,) = refused(small_spec(feature_processor=path), places)
    assert f"feature_processor '{path}' cannot be loaded" in problem and "package.module:Class" in problem


class Cumulating:
    """A processor whose function looks at other rows."""

    def running_sum(self, column: str) -> pl.Expr:
        return pl.col(column).cum_sum()


def test_preprocess_that_looks_beyond_its_row(places, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cumulating", SimpleNamespace(Cumulating=Cumulating))
    spec = small_spec(
        feature_processor="cumulating:Cumulating",
        feature_cols=column(name="price", preprocess="running_sum"),
    )
    (problem,) = refused(spec, places)
    assert problem == "preprocess of column 'price' looks beyond its own row; compute it before the build"


def test_features_that_the_data_does_not_have(places):
    spec = small_spec(group_id="usr")
    built = build_dataset(spec, places, log=quiet)
    choice = SimpleNamespace(
        embedding_dim=4, use_features=["user", "itm"], feature_specs=[{"name": ["prize"], "embedding_dim": 2}]
    )
    with pytest.raises(RequestError) as caught:
        load_feature_map(built.feature_map, spec, choice)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "group_id",
        "use_features",
        "feature_specs",
    ]
    assert all("Did you mean" in problem for problem in caught.value.problems)


def test_encoded_data_that_is_not_there(tmp_path):
    spec = make_spec(
        "far",
        {"label_col": {"name": "y"}, "data_root": "d", "data_format": "npz", "train_data": "d/far/train"},
    )
    with pytest.raises(RequestError) as caught:
        open_dataset(spec, Places(data_root=tmp_path), log=quiet)
    data, feature_map = caught.value.problems
    assert data.startswith("train_data: 'd/far/train'") and feature_map.startswith(
        "feature_map.json of encoded data"
    )


def test_loading_a_damaged_build(places):
    spec = small_spec()
    built = build_dataset(spec, places, log=quiet)
    feature_map = load_feature_map(
        built.feature_map, spec, SimpleNamespace(embedding_dim=4, use_features=None, feature_specs=None)
    )
    (built.folder / "cut.parquet").write_bytes(built.train.read_bytes()[:-10])
    with pytest.raises(RequestError, match="cut off"):
        MemoryLoader(feature_map, built.folder / "cut.parquet")
    feature_map.features["brand"] = {"type": "categorical", "vocab_size": 3}
    with pytest.raises(RequestError, match="has no column 'brand'"):
        MemoryLoader(feature_map, built.train)


def test_encoded_data_that_is_not_described(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    columns = [{"name": "item"}, {"name": "seen", "type": "sequence", "vocab_size": 9}]
    config = {"rebuild_dataset": False, "feature_cols": columns, "label_col": {"name": "y"}}
    spec = make_spec("far", {**config, "data_format": "parquet", "train_data": "x.parquet"})
    with pytest.raises(RequestError) as caught:
        open_dataset(spec, Places(data_root=tmp_path), log=quiet)
    assert caught.value.problems == [
        "far: rebuild_dataset: false needs vocab_size of column 'item'",
        "far: rebuild_dataset: false needs max_len of column 'seen'",
    ]


def test_no_room_for_what_is_known_of_encoded_data(tmp_path, monkeypatch):
    def full(*arguments, **keys):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encoded_folder, "write_json", full)
    pl.DataFrame({"item": [1, 2], "y": [0, 1]}).write_parquet(tmp_path / "x.parquet")
    config = {"rebuild_dataset": False, "data_format": "parquet", "train_data": "x.parquet"}
    columns = {"feature_cols": [{"name": "item", "vocab_size": 3}], "label_col": {"name": "y"}}
    with pytest.raises(RunError, match="opening the encoded data of far failed: .*No space left"):
        open_dataset(make_spec("far", config | columns), Places(data_root=tmp_path), log=quiet)
