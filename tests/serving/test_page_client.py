"""The client of docs/serving.md on parquet with what CSV has not: lists of numbers, booleans, small types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

from fuxictr_qnn import load_run
from fuxictr_qnn.data import DatasetSpec, Places
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.saved import open_run
from fuxictr_qnn.serving.export import export_onnx
from fuxictr_qnn.training import run_seed
from tests.serving.made_clicks import experiment_of
from tests.serving.test_onnx_export import client_code

COLUMNS: list[dict[str, Any]] = [
    {"name": "seen", "dtype": "int", "type": "sequence", "max_len": 3},
    {"name": "seen_text", "type": "sequence", "max_len": 3, "padding": "pre"},
    {"name": "flags", "type": "sequence", "max_len": 2},
    {
        "name": "hashed",
        "type": "sequence",
        "max_len": 3,
        "category_processor": "hash_bucket",
        "num_buckets": 7,
    },
    {
        "name": "words",
        "type": "sequence",
        "max_len": 3,
        "category_processor": "hash_bucket",
        "num_buckets": 7,
    },
    {"name": "member", "dtype": "str"},
    {"name": "active", "dtype": "int"},
    {"name": "item", "dtype": "int"},
    {"name": "far", "dtype": "int"},
    {"name": "rate", "dtype": "float"},
    {"name": "page", "dtype": "int", "category_processor": "hash_bucket", "num_buckets": 5},
    {"name": "level", "dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 4},
    {"name": "vector", "type": "embedding", "splitter": " ", "pretrain_dim": 2},
]
LISTS = ("seen", "seen_text", "flags", "hashed")


def rows_of(count: int, seed: int) -> pl.DataFrame:
    """About one cell in eight is missing; lists are empty, too."""
    rng = np.random.default_rng(seed)

    def some(values: Any, dtype: Any) -> pl.Series:
        missing = rng.random(count) < 0.12
        return pl.Series(
            [None if gone else value for value, gone in zip(values, missing, strict=True)], dtype=dtype
        )

    def lists(below: int) -> list[list[int]]:
        return [rng.integers(0, below, rng.integers(0, 5)).tolist() for _ in range(count)]

    whole = {name: some(lists(9 + seed), pl.List(pl.Int64)) for name in ("seen", "seen_text", "hashed")}
    return pl.DataFrame(
        whole
        | {
            "flags": some([[bool(flag) for flag in flags] for flags in lists(2)], pl.List(pl.Boolean)),
            "words": some(["^".join(f"w{word}" for word in words) for words in lists(20)], pl.String),
            "member": some(rng.integers(0, 2, count).astype(bool).tolist(), pl.Boolean),
            "active": some(rng.integers(0, 2, count).astype(bool).tolist(), pl.Boolean),
            "item": some(rng.integers(0, 12 + seed, count).tolist(), pl.Int32),
            "far": some((2**60 + rng.integers(0, 12 + seed, count)).tolist(), pl.Int64),
            "rate": some((rng.integers(0, 12 + seed, count) / 10).tolist(), pl.Float32),
            "page": some(rng.integers(0, 30, count).tolist(), pl.Int64),
            "level": some(rng.normal(size=count).round(2).tolist(), pl.Float64),
            "vector": [f"{a:.2f} {b:.2f}" for a, b in rng.normal(0, 1, (count, 2))],
            "label": rng.integers(0, 2, count),
            "shopper": rng.integers(0, 9, count),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run."""
    root = tmp_path_factory.mktemp("kinds")
    for seed, split in enumerate(("train", "valid", "test")):
        rows_of(300, seed).write_parquet(root / f"{split}.parquet")
    spec = DatasetSpec(
        dataset_id="kinds",
        data_format="parquet",
        **{f"{split}_data": f"{split}.parquet" for split in ("train", "valid", "test")},
        feature_cols=[*COLUMNS, {"name": "shopper", "type": "meta"}],
        label_col=[{"name": "label"}],
        group_id="shopper",
    )
    places = Places(data_root=root, config_dir=root)
    return run_seed(experiment_of(spec), 1, places=places, out=root / "runs", gpu=-1).folder


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's client defines, and `made` of the exported run."""
    places = Places(data_root=folder.parents[2])
    done = export_onnx(open_run(folder), tmp_path_factory.mktemp("served") / "model.onnx", places)
    namespace: dict[str, Any] = {}
    exec(client_code().split("\nclient = ")[0], namespace)
    return namespace | {"made": namespace["Client"](*done.files)}


def feature_of(client: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, int] | None]:
    about = client["made"].about
    return next(each for each in about["features"] if each["name"] == name), about["vocabularies"].get(name)


@pytest.mark.parametrize("name", [column["name"] for column in COLUMNS])
def test_each_kind_is_encoded_as_the_build_does(name: str, client: dict[str, Any], folder: Path):
    (file,) = folder.parents[2].glob("kinds/built-*/test.parquet")
    built = np.array(pl.read_parquet(file)[name].to_list())
    found = [client["encode"](value, *feature_of(client, name)) for value in rows_of(300, 2)[name].to_list()]
    np.testing.assert_allclose(np.array(found, np.float64), built, rtol=1e-6)
    assert len(np.unique(built)) > 1


def test_it_predicts_what_load_run_does(client: dict[str, Any], folder: Path):
    frame = rows_of(300, 2)
    found = client["made"].predict(frame.to_dicts())
    by_run = load_run(folder).predict(frame)
    in_run = pl.read_parquet(folder / "test_scores.parquet")["y_pred"].to_numpy()
    np.testing.assert_allclose(found, by_run, atol=1e-5)
    np.testing.assert_allclose(found, in_run, atol=1e-5)
    assert in_run.std() > 1e-3


def test_numpy_values_are_what_they_hold(client: dict[str, Any]):
    """A row of a NumPy program: its own booleans, missing numbers and arrays."""
    row = {
        "seen": [1, 2],
        "hashed": [3],
        "member": True,
        "item": 3,
        "rate": 0.5,
        "page": 4,
        "vector": [0.5, 1],
    }
    same = {name: np.array(value) if isinstance(value, list) else value for name, value in row.items()}
    same |= {"member": np.True_, "item": np.float64(3), "rate": np.float32(0.5), "far": np.float32("nan")}
    np.testing.assert_array_equal(client["made"].predict([same]), client["made"].predict([row]))


@pytest.mark.parametrize("value", [3.7, "3.7", float("inf"), "__OOV__"])
def test_what_is_no_whole_number_is_unknown(value: Any, client: dict[str, Any], folder: Path):
    feature, vocabulary = feature_of(client, "item")
    assert client["encode"](value, feature, vocabulary) == feature["unknown"] != vocabulary["3"]
    assert client["encode"](3.0, feature, vocabulary) == vocabulary["3"]
    with pytest.raises(RequestError):  # where there is somebody to ask
        load_run(folder).predict(rows_of(3, 2).with_columns(pl.lit(value).alias("item")))


def test_numbers_as_text_and_no_numbers(client: dict[str, Any]):
    feature, vocabulary = feature_of(client, "rate")
    assert client["encode"]("1", feature, vocabulary) == vocabulary["1.0"]
    assert client["encode"]("__OOV__", feature, vocabulary) == feature["unknown"]


def test_the_description_says_what_a_client_has_to_know(client: dict[str, Any]):
    for name in (*LISTS, "words"):
        assert feature_of(client, name)[0]["missing"] == ""
    assert feature_of(client, "vector")[0]["splitter"] == " "
    assert feature_of(client, "item")[0]["missing"] == 0 and feature_of(client, "page")[0]["missing"] is None
    assert json.loads(json.dumps(client["made"].about["features"])) == client["made"].about["features"]
