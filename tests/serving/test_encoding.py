"""Raw rows become what the build made of the same rows, byte for byte."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.data import BuiltDataset, Places, build_dataset, open_dataset
from fuxictr_qnn.data.raw.reading import Block, RawFiles
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.serving.encoding import RowEncoder
from tests.serving.made_clicks import COLUMNS, build, clicks, spec_of, write_clicks


def check_equal(encoder: RowEncoder, file: Path, encoded: Path, share: float = 1) -> dict[str, int]:
    """Every array of every block has the bytes of the build; returns the unknown values."""
    plain = encoder.spec.model_copy(update={"feature_cols": []})
    raw = RawFiles([file], plain, encoder.types, share=share)
    built, start, unknown = pq.read_table(encoded), 0, {}
    for block in raw.blocks(encoder.inputs(raw.schema(), f"'{file}'")):
        rows = encoder.encode(block)
        assert set(rows.columns) == set(encoder.names)
        for name, array in rows.columns.items():
            wanted = built.column(name).slice(start, rows.rows).combine_chunks()
            wanted = wanted.flatten() if array.ndim == 2 else wanted
            wanted = wanted.to_numpy(zero_copy_only=False)
            assert (array.dtype, array.tobytes()) == (wanted.dtype, wanted.tobytes()), name
        start += rows.rows
        unknown = {name: unknown.get(name, 0) + count for name, count in rows.unknown.items()}
    assert start == built.num_rows > 0
    return unknown


def check_every_split(built: BuiltDataset, files: dict[str, Path], share: float = 1) -> None:
    encoder = RowEncoder(built.folder)
    assert encoder.names
    for split, encoded in built.splits.items():
        check_equal(encoder, files[split], encoded, share)


@pytest.mark.parametrize("dataset_id", ["ml_1m_x1", "frappe_x1", "criteo_10k"])
def test_real_data(dataset_id: str, test_data: Path, tmp_path: Path):
    spec = load_dataset(dataset_id).spec
    built = build_dataset(spec, Places(data_root=test_data, build_dir=tmp_path), log=lambda message: None)
    files = {split: test_data / dataset_id / f"{split}.csv" for split in built.splits}
    check_every_split(built, files, share=1 / 8)


def test_simulated_data(tmp_path: Path):
    built = open_dataset(load_dataset("demo").spec, Places(data_root=tmp_path), log=lambda message: None)
    check_every_split(built, {split: tmp_path / "demo" / f"{split}.csv" for split in built.splits})


class TestEveryType:
    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_in_blocks_of_any_size(self, kind: str, tmp_path: Path):
        files = write_clicks(tmp_path, kind)
        built = build(tmp_path, spec_of(kind))
        check_every_split(built, files)
        check_every_split(built, files, share=1e-4)

    def test_a_file_of_the_other_kind(self, tmp_path: Path):
        """What CSV says in text, parquet may say in numbers and lists."""
        files = write_clicks(tmp_path)
        built = build(tmp_path, spec_of())
        frame = pl.read_csv(files["test"], infer_schema_length=None).with_columns(
            pl.col("tags").str.split("|"), pl.col("vector").str.split(" ").cast(pl.List(pl.Float32))
        )
        frame.write_parquet(tmp_path / "other.parquet")
        encoder = RowEncoder(built.folder)
        raw = RawFiles([tmp_path / "other.parquet"], spec_of("parquet"))
        (block,) = raw.blocks(encoder.inputs(raw.schema(), "it"))
        rows = encoder.encode(block)
        wanted = pl.read_parquet(built.test)
        for name in encoder.names:
            np.testing.assert_array_equal(rows.columns[name], np.array(wanted[name].to_list()), name)

    def test_text_where_training_had_lists_and_whole_numbers(self, tmp_path: Path):
        files = write_clicks(tmp_path, "parquet")
        built = build(tmp_path, spec_of("parquet"))
        frame = pl.read_parquet(files["test"]).with_columns(
            pl.col("tags", "liked").list.join("^"),
            pl.col("vector").cast(pl.List(pl.String)).list.join("^"),
        )
        frame.write_csv(tmp_path / "other.csv")
        encoder = RowEncoder(built.folder)
        plain = encoder.spec.model_copy(update={"data_format": "csv", "feature_cols": []})
        raw = RawFiles([tmp_path / "other.csv"], plain, encoder.types)
        (block,) = raw.blocks(encoder.inputs(raw.schema(), "it"))
        rows, wanted = encoder.encode(block), pl.read_parquet(built.test)
        for name in encoder.names:
            np.testing.assert_array_equal(rows.columns[name], np.array(wanted[name].to_list()), name)

    def test_unknown_values_are_counted_and_missing_ones_are_not(self, tmp_path: Path):
        files = write_clicks(tmp_path)
        built = build(tmp_path, spec_of())
        unknown = check_equal(RowEncoder(built.folder), files["test"], built.test)
        raw, train = clicks(250, 2), clicks(600, 0)
        often = train["user"].value_counts().filter(pl.col("count") >= 3)["user"]
        users = raw["user"].drop_nulls()
        assert unknown["user"] == (~users.is_in(often.implode())).sum() > 0
        known = set(train["tags"].drop_nulls().str.split("|").explode(empty_as_null=True))
        known |= set(train["liked"].drop_nulls().str.split("|").explode(empty_as_null=True))
        kept = [tags.split("|")[-3:] for tags in raw["tags"].drop_nulls()]  # padded before, so the first go
        assert unknown["tags"] == sum(tag not in known for tags in kept for tag in tags) > 0
        assert set(unknown) == {"user", "item", "city", "tags", "liked", "bucket"}

    def test_columns_that_no_feature_needs_change_nothing(self, tmp_path: Path):
        """Also one with the name of a feature that a preprocess function makes."""
        write_clicks(tmp_path)
        encoder = RowEncoder(build(tmp_path, spec_of()).folder)
        frame = clicks(50, 1)
        wanted = encoder.encode(block_of(frame))
        other = frame.with_columns(bucket=pl.lit("x"), unused=pl.date(2024, 1, 1), shopper=pl.lit(1), more=2)
        found = encoder.encode(block_of(other))
        assert found.unknown == wanted.unknown
        for name, array in wanted.columns.items():
            np.testing.assert_array_equal(found.columns[name], array, name)
        assert encoder.columns == [
            name for name in frame.columns if name not in ("row", "gone", "shopper", "label")
        ]

    @pytest.mark.parametrize("kind", ["csv", "parquet"])
    def test_columns_that_only_functions_read_have_the_type_of_training(self, kind: str, tmp_path: Path):
        """The first rows of another file look like numbers."""
        zips = {"train": ["A1", "007", "012", "B2"], "valid": ["007", "012"], "test": ["007", "A1"]}
        for split, some in zips.items():
            frame = pl.DataFrame({"zip": some * 60, "label": [0, 1] * (30 * len(some))})
            getattr(frame, f"write_{kind}")(tmp_path / f"{split}.{kind}")
        columns = [{"name": "place", "preprocess": "copy_from(zip)"}]
        built = build(tmp_path, spec_of(kind, columns).model_copy(update={"group_id": None}))
        encoder = RowEncoder(built.folder)
        assert encoder.columns == ["zip"] and encoder.names == ["place"]
        unknown = check_equal(encoder, tmp_path / f"valid.{kind}", built.valid)
        assert unknown == {"place": 0}
        assert encoder.encode(block_of(pl.DataFrame({"zip": ["007", "7"]}))).unknown == {"place": 1}

    def test_a_feature_that_is_not_wanted_need_not_be_there(self, tmp_path: Path):
        write_clicks(tmp_path)
        built = build(tmp_path, spec_of())
        encoder = RowEncoder(built.folder, ["user", "price", "shopper"])
        rows = encoder.encode(block_of(clicks(9, 5).select("user", "price")))
        assert list(rows.columns) == ["user", "price"] and rows.columns["user"].shape == (9,)

    def test_a_token_that_looks_like_ours(self, tmp_path: Path):
        """A vocabulary is a JSON mapping in which __PAD__ and __OOV__ have ids of their own."""
        files = write_clicks(tmp_path)
        text = files["train"].read_text().replace(",u1,", ",__OOV__,").replace(",u2,", ",__PAD__,")
        files["train"].write_text(text)
        built = build(tmp_path, spec_of())
        check_equal(RowEncoder(built.folder), files["train"], built.train)


def block_of(frame: pl.DataFrame) -> Block:
    return Block(Path("rows"), 0, frame)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clicks")
    write_clicks(root)
    return build(root, spec_of()).folder


def problems_of(folder: Path, frame: pl.DataFrame) -> list[str]:
    with pytest.raises(RequestError) as caught:
        RowEncoder(folder).encode(block_of(frame))
    return caught.value.problems


class TestRefused:
    def test_every_missing_column_at_once(self, folder: Path):
        problems = problems_of(folder, clicks(5, 1).drop("user", "tags").rename({"price": "prices"}))
        assert len(problems) == 3 and all(problem.startswith("'rows' has no column") for problem in problems)
        assert "'prices'" in next(problem for problem in problems if "'price'" in problem)

    def test_every_wrong_type_at_once(self, folder: Path):
        frame = clicks(5, 1).with_columns(
            pl.lit(1.5).alias("user"), pl.lit("x").alias("item"), pl.lit("1").alias("price")
        )
        problems = problems_of(folder, frame)
        assert [problem.split("'")[3] for problem in problems] == ["user", "item", "price"]
        assert "holds Float64, but the run was trained on text" in problems[0]

    @pytest.mark.parametrize("value", [float("inf"), float("-inf")])
    def test_numbers_without_end(self, folder: Path, value: float):
        frame = clicks(5, 1).with_columns(pl.Series("price", [1.0, value, 1, 1, 1]))
        (problem,) = problems_of(folder, frame)
        assert "'rows', row 2: column 'price'" in problem and "infinite" in problem

    def test_vectors_of_another_width(self, folder: Path):
        frame = clicks(5, 1).with_columns(pl.Series("vector", ["1 2", "1 2 3", "1 2", "1 2", "1 2"]))
        (problem,) = problems_of(folder, frame)
        assert "row 2" in problem and "2 finite numbers" in problem

    def test_missing_vectors(self, folder: Path):
        frame = clicks(3, 1).with_columns(pl.Series("vector", ["1 2", None, "1 2"]))
        assert "row 2: column 'vector' needs 2 finite numbers" in problems_of(folder, frame)[0]

    def test_whole_numbers_that_are_not(self, folder: Path):
        frame = clicks(2, 1).with_columns(pl.Series("item", [1.0, 1.5]))
        assert "trained on whole numbers" in problems_of(folder, frame)[0]


class TestAccepted:
    def test_what_means_the_same(self, folder: Path):
        frame = clicks(50, 1)
        encoder = RowEncoder(folder)
        wanted = encoder.encode(block_of(frame)).columns
        other = frame.with_columns(
            pl.col("user").cast(pl.Categorical),
            pl.col("item").cast(pl.Float64).fill_null(float("nan")),  # as pandas has them
            pl.col("tags").str.split("|"),
            pl.lit(None).alias("gone"),
        )
        found = encoder.encode(block_of(other)).columns
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array, name)

    def test_nothing_at_all(self, folder: Path):
        assert RowEncoder(folder).encode(block_of(clicks(0, 1))).rows == 0

    def test_columns_without_a_value(self, folder: Path):
        frame = clicks(4, 1).with_columns(
            pl.lit(None).alias(name) for name in ("user", "item", "price", "tags")
        )
        rows = RowEncoder(folder).encode(block_of(frame))
        assert rows.unknown["user"] == rows.unknown["tags"] == 0 and len(set(rows.columns["user"])) == 1


class TestTampered:
    def change(self, folder: Path, tmp_path: Path, name: str, change) -> str:
        import shutil

        copy = tmp_path / "features"
        shutil.copytree(folder, copy)
        content = json.loads((copy / name).read_text())
        change(content)
        (copy / name).write_text(json.dumps(content))
        with pytest.raises(RequestError) as caught:
            RowEncoder(copy)
        (problem,) = caught.value.problems
        return problem

    def test_a_vocabulary_of_another_size(self, folder: Path, tmp_path: Path):
        problem = self.change(folder, tmp_path, "feature_vocab.json", lambda v: v["user"].update(more=99))
        assert "'user': it has" in problem and "by feature_vocab.json" in problem

    def test_two_tokens_with_one_id(self, folder: Path, tmp_path: Path):
        def change(vocabularies):
            first, second = list(vocabularies["user"])[1:3]
            vocabularies["user"][second] = vocabularies["user"][first]

        assert "share an id" in self.change(folder, tmp_path, "feature_vocab.json", change)

    def test_a_vocabulary_that_is_gone(self, folder: Path, tmp_path: Path):
        assert "KeyError" in self.change(folder, tmp_path, "feature_vocab.json", lambda v: v.pop("user"))

    def test_a_key_of_a_later_version(self, folder: Path, tmp_path: Path):
        problem = self.change(
            folder, tmp_path, "preprocessing.json", lambda state: state["dataset"].update(novelty=1)
        )
        assert "novelty" in problem and "another version" in problem

    def test_half_a_file(self, folder: Path, tmp_path: Path):
        problem = self.change(folder, tmp_path, "preprocessing.json", lambda state: state.pop("types"))
        assert "preprocessing.json" in problem and "lacks a part" in problem

    @pytest.mark.parametrize(
        ("name", "change", "said"),
        [
            ("preprocessing.json", lambda state: state["normalizers"].pop("price"), "KeyError: 'price'"),
            ("preprocessing.json", lambda state: state["normalizers"]["price"].update(scale=0), "scale 0"),
            ("preprocessing.json", lambda state: state["normalizers"]["price"].pop("shift"), "KeyError"),
            ("preprocessing.json", lambda state: state["max_len"].update(tags=2), "max_len is 2"),
            ("preprocessing.json", lambda state: state["max_len"].pop("tags"), "KeyError: 'tags'"),
            ("preprocessing.json", lambda state: state.pop("buckets"), "KeyError: 'buckets'"),
            ("preprocessing.json", lambda state: state["buckets"]["device"].update(num_buckets=9), "11 ids"),
            ("preprocessing.json", lambda state: state["types"].pop("user"), "KeyError: 'user'"),
            ("preprocessing.json", lambda state: state["raw"].update(user="os"), "is no type of polars"),
            ("feature_map.json", lambda content: content.pop("features"), "KeyError: 'features'"),
            ("feature_map.json", lambda content: content["features"].pop(0), "KeyError: 'user'"),
            (
                "feature_vocab.json",
                lambda content: content["user"].update({t: i + 5 for t, i in content["user"].items() if i}),
                "by feature_vocab.json",
            ),
        ],
    )
    def test_parts_that_do_not_fit(self, folder: Path, tmp_path: Path, name: str, change, said: str):
        problem = self.change(folder, tmp_path, name, change)
        assert said in problem and "put back the files of this run" in problem


class TestFunctionsOfOnesOwn:
    @pytest.fixture
    def built(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        source = (
            "import pathlib, polars as pl\n"
            "pathlib.Path('imported').touch()\n"
            "class Shop:\n"
            "    def upper(self, name): return pl.col(name).str.to_uppercase()\n"
            "    def spy(self, text): pathlib.Path(text).touch()\n"
        )
        (tmp_path / "shop_functions.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        sys.modules.pop("shop_functions", None)
        write_clicks(tmp_path)
        columns = [{"name": "user", "preprocess": "upper"}, {"name": "device"}]
        spec = spec_of(columns=columns, feature_processor="shop_functions:Shop")
        folder = build(tmp_path, spec.model_copy(update={"group_id": None})).folder
        sys.modules.pop("shop_functions", None)
        (tmp_path / "imported").unlink()
        return folder

    def test_they_are_run_only_if_the_caller_names_them(self, built: Path):
        with pytest.raises(RequestError, match="--feature-processor shop_functions:Shop"):
            RowEncoder(built)
        with pytest.raises(RequestError, match="code to be run"):
            RowEncoder(built, feature_processor="shop_functions:Other")
        assert not Path("imported").exists()
        encoder = RowEncoder(built, feature_processor="shop_functions:Shop")
        frame = pl.DataFrame({"user": ["u1", "U1"], "device": ["d1", "d1"]})
        assert len(set(encoder.encode(block_of(frame)).columns["user"])) == 1

    def test_a_function_that_makes_no_expression(self, built: Path):
        file = built / "preprocessing.json"
        file.write_text(file.read_text().replace('"upper"', '"spy(trace)"'))
        with pytest.raises(RequestError, match="preprocess 'spy' returns NoneType, not an expression"):
            RowEncoder(built, feature_processor="shop_functions:Shop")


def test_every_type_is_tried():
    types = {column.get("type", "categorical") for column in COLUMNS}
    assert types == {"categorical", "sequence", "numeric", "embedding", "meta"}
