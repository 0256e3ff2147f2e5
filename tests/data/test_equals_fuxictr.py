"""Our builds hold, value for value, what FuxiCTR's own code makes of the same config and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_support import EVERYTHING, config_of, make_spec, quiet, run_fuxictr

from fuxictr_qnn.data import BuiltDataset, MemoryLoader, Places, build_dataset, load_feature_map

SPLITS = ("train", "valid", "test")
REAL = ("frappe_x1", "ml_1m_x1", "criteo_10k")
CRITEO_PROCESSOR = "fuxictr.datasets.criteo:CustomizedFeatureProcessor"
COLUMN = {"active": True, "dtype": "str", "type": "categorical"}


def csv_config(folder: Path) -> dict[str, Any]:
    """Numbers, scalers, groups, sequences, shared and pretrained embeddings in a CSV file."""
    return {
        "data_format": "csv",
        **{f"{split}_data": str(folder / f"{split}.csv") for split in ("train", "valid", "test")},
        "min_categr_count": 2,
        "group_id": "user",
        "feature_cols": [
            {**COLUMN, "name": "user", "type": "meta"},
            {**COLUMN, "name": "session", "dtype": "int", "type": "meta", "remap": False},
            {**COLUMN, "name": "item", "embedding_dim": 8, "source": "item"},
            {**COLUMN, "name": "history", "type": "sequence", "share_embedding": "item", "padding": "pre",
             "max_len": 3, "feature_encoder": None},
            {**COLUMN, "name": "liked", "type": "sequence", "splitter": "|", "share_embedding": "item"},
            {**COLUMN, "name": "tags", "type": "sequence", "max_len": 2, "emb_output_dim": 6,
             "fill_na": "none"},
            {**COLUMN, "name": "shop", "dtype": "int", "min_categr_count": 3, "fill_na": 0},
            {**COLUMN, "name": "area", "dtype": "int", "min_categr_count": 1},
            {**COLUMN, "name": "brand", "pretrained_emb": str(folder / "brand.npz"), "pretrain_dim": 4,
             "freeze_emb": False, "pretrain_usage": "sum"},
            {**COLUMN, "name": "rival", "share_embedding": "brand"},
            {**COLUMN, "name": "maker", "pretrained_emb": str(folder / "maker.parquet"), "pretrain_dim": 3,
             "pretrain_usage": "concat"},
            {**COLUMN, "name": "words", "type": "sequence", "max_len": 2, "pretrain_dim": 5,
             "pretrained_emb": str(folder / "words.npz")},
            {**COLUMN, "name": "price", "dtype": "float", "type": "numeric", "normalizer": "StandardScaler"},
            {**COLUMN, "name": "stock", "dtype": "float", "type": "numeric", "normalizer": "MinMaxScaler"},
            {**COLUMN, "name": "age", "dtype": "int", "type": "numeric", "fill_na": 30},
            {**COLUMN, "name": "price_text", "preprocess": "copy_from(price_raw)"},
            {**COLUMN, "name": "price_raw", "active": False},
            {**COLUMN, "name": "rank", "dtype": "float", "fill_na": 0, "preprocess": "convert_to_bucket"},
        ],
        "label_col": [{"name": "click", "dtype": "float"}],
        "feature_processor": CRITEO_PROCESSOR,
    }  # fmt: skip


def write_csv_data(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(7)

    def words(prefix: str, largest: int, size: int) -> np.ndarray:
        return np.char.add(prefix, (rng.zipf(1.4, size) % largest).astype(str))

    def with_gaps(values) -> list[Any]:
        gaps = rng.random(len(values)) < 0.1
        return [None if gap else value for value, gap in zip(list(values), gaps, strict=True)]

    def joined(separator: str, rows: int) -> list[str]:
        return [
            separator.join(words("i", 40, int(count))) if count else "" for count in rng.integers(0, 6, rows)
        ]

    for split, rows in (("train", 400), ("valid", 90), ("test", 90)):
        price = rng.lognormal(1, 1, rows).round(2)
        frame = pl.DataFrame(
            {
                "click": rng.integers(0, 2, rows),
                "user": with_gaps(words("u", 60, rows)),
                "session": rng.integers(10**10, 10**11, rows),
                "item": with_gaps(words("i", 50, rows)),
                "history": with_gaps(joined("^", rows)),
                "liked": joined("|", rows),
                "tags": with_gaps(["^".join(words("t", 9, 2)) for _ in range(rows)]),
                "shop": with_gaps(rng.integers(-5, 60, rows)),
                "area": with_gaps(rng.integers(0, 30, rows)),
                "brand": words("b", 30, rows),
                "rival": words("b", 60, rows),
                "maker": words("m", 30, rows),
                "words": joined("^", rows),
                "price": with_gaps(price),
                "stock": with_gaps(rng.normal(0, 5, rows).round(3)),
                "age": with_gaps(rng.integers(18, 80, rows)),
                "price_raw": price,
                "rank": with_gaps(rng.integers(-2, 500, rows)),
                "unused": ["x"] * rows,
            }
        )
        frame.write_csv(folder / f"{split}.csv")
    keys = np.array([f"b{number}" for number in range(40)][::-1])
    np.savez(folder / "brand.npz", key=keys, value=rng.normal(size=(40, 4)))
    makers = pl.DataFrame({"key": [f"m{number}" for number in range(20)], "value": rng.normal(size=(20, 3))})
    makers.write_parquet(folder / "maker.parquet")
    seen = np.array([f"i{number}" for number in range(50)])
    np.savez(folder / "words.npz", key=seen, value=rng.normal(size=(50, 5)))


def parquet_config(folder: Path) -> dict[str, Any]:
    """List columns and given vectors, as in parquet files."""
    return {
        "data_format": "parquet",
        **{f"{split}_data": str(folder / f"{split}.parquet") for split in ("train", "valid", "test")},
        "feature_cols": [
            {**COLUMN, "name": "item"},
            {**COLUMN, "name": "seen", "type": "sequence", "max_len": 4, "padding": "pre", "fill_na": None},
            {**COLUMN, "name": "vector", "dtype": "float", "type": "embedding", "pretrain_dim": 3,
             "fill_na": None},
        ],
        "label_col": {"name": "label", "dtype": "float"},
    }  # fmt: skip


def write_parquet_data(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(8)
    for split, rows in (("train", 200), ("valid", 50), ("test", 50)):
        pl.DataFrame(
            {
                "label": rng.integers(0, 2, rows),
                "item": rng.integers(0, 99, rows).astype(str),
                "seen": [rng.integers(0, 30, rng.integers(1, 7)).tolist() for _ in range(rows)],
                "vector": rng.normal(size=(rows, 3)).tolist(),
            }
        ).write_parquet(folder / f"{split}.parquet")


@pytest.fixture(scope="session")
def configs(test_data, tmp_path_factory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("simulated")
    write_csv_data(folder / "csv")
    write_parquet_data(folder / "parquet")
    return {
        **{name: config_of(name) for name in REAL},
        "many_kinds": csv_config(folder / "csv"),
        "lists": parquet_config(folder / "parquet"),
    }


@pytest.fixture(scope="session")
def ours(configs, test_data, tmp_path_factory) -> dict[str, BuiltDataset]:
    places = Places(data_root=Path(test_data), build_dir=tmp_path_factory.mktemp("builds"))
    return {
        name: build_dataset(make_spec(name, config), places, log=quiet) for name, config in configs.items()
    }


@pytest.fixture(scope="session")
def theirs(configs, ours, test_data, tmp_path_factory) -> Path:
    """FuxiCTR's builds: a folder a dataset, with read.npz, what its loader reads from our test.parquet.

    Criteo's bucket function is in FuxiCTR's own processor.
    """
    scratch = tmp_path_factory.mktemp("fuxictr")
    builds = []
    for name, config in configs.items():
        paths = {f"{split}_data": str(Path(test_data) / config[f"{split}_data"]) for split in SPLITS}
        processor = {"feature_processor": CRITEO_PROCESSOR} if name == "criteo_10k" else {}
        builds.append({**config, **paths, **processor, "dataset_id": name, "data_root": str(scratch)})
    reads = [
        {"dataset_id": name, "folder": str(built.folder), "to": str(scratch / name / "read.npz")}
        for name, built in ours.items()
    ]
    run_fuxictr(builds, reads, scratch)
    return scratch


DATASETS = pytest.mark.parametrize("name", [*REAL, "many_kinds", "lists"])


@DATASETS
def test_feature_map(name, theirs, ours):
    expected = (theirs / name / "feature_map.json").read_text()
    assert json.loads(ours[name].feature_map.read_text()) == json.loads(expected)
    assert list(json.loads(expected)) == list(json.loads(ours[name].feature_map.read_text()))


@DATASETS
def test_vocabularies(name, theirs, ours):
    expected = json.loads((theirs / name / "feature_vocab.json").read_text())
    found = json.loads((ours[name].folder / "feature_vocab.json").read_text())
    assert list(found) == list(expected)
    for column in expected:
        assert list(found[column].items()) == list(expected[column].items()), column


@DATASETS
@pytest.mark.parametrize("split", SPLITS)
def test_values(name, split, theirs, ours):
    expected = pl.read_parquet(theirs / name / f"{split}.parquet")
    found = pl.read_parquet(getattr(ours[name], split))
    assert set(found.columns) == set(expected.columns)
    for column in expected.columns:
        theirs_values, ours_values = (np.array(frame[column].to_list()) for frame in (expected, found))
        assert theirs_values.shape == ours_values.shape, column
        if found[column].dtype == pl.Float32 or column == "vector":  # they store float64
            np.testing.assert_allclose(ours_values, theirs_values, rtol=1e-6, atol=1e-7, err_msg=column)
        else:
            np.testing.assert_array_equal(ours_values, theirs_values, err_msg=column)


@DATASETS
def test_fuxictrs_loader_reads_what_ours_reads(name, configs, theirs, ours):
    feature_map = load_feature_map(ours[name].feature_map, make_spec(name, configs[name]), EVERYTHING)
    (batch,) = MemoryLoader(feature_map, ours[name].test, split="test", batch_size=10**6)
    expected = np.load(theirs / name / "read.npz")
    assert set(batch) == set(expected)
    for column in expected:
        assert batch[column].shape == expected[column].shape
        np.testing.assert_array_equal(batch[column].numpy(), expected[column], err_msg=column)
