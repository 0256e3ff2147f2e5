"""What the tests of the data room share: specs from configs, small datasets, FuxiCTR's own build."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from fuxictr_qnn.data import ColumnSpec, DatasetSpec, LabelSpec, Places, open_dataset
from fuxictr_qnn.errors import RequestError

ROOT = Path(__file__).parents[2]
EVERYTHING = SimpleNamespace(embedding_dim=4, use_features=None, feature_specs=None)


def quiet(message: str) -> None:
    """A log that nobody reads."""


def config_of(dataset_id: str) -> dict[str, Any]:
    """A shipped dataset config as plain data."""
    return yaml.safe_load((ROOT / "data_configs" / f"{dataset_id}.yaml").read_text())[dataset_id]


def make_spec(dataset_id: str, config: dict[str, Any]) -> DatasetSpec:
    config = dict(config)
    columns = []
    for entry in config.pop("feature_cols", []):
        names = entry["name"] if isinstance(entry["name"], list) else [entry["name"]]
        columns += [ColumnSpec(**{**entry, "name": name}) for name in names]
    labels = config.pop("label_col")
    labels = [LabelSpec(**label) for label in (labels if isinstance(labels, list) else [labels])]
    return DatasetSpec(dataset_id=dataset_id, feature_cols=columns, label_col=labels, **config)


def small_frame(rows: int, seed: int) -> pl.DataFrame:
    """User, item, a number and a label; about one cell in ten is empty."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": [f"u{x}" if x else None for x in rng.integers(0, 10, rows)],
            "item": rng.zipf(1.5, rows) % 50,
            "price": rng.normal(10, 3, rows).round(3),
            "label": rng.integers(0, 2, rows),
        }
    )


SMALL = {
    "train_data": "train.csv",
    "valid_data": "valid.csv",
    "test_data": "test.csv",
    "feature_cols": [
        {"name": "user", "dtype": "str", "type": "categorical"},
        {"name": "item", "dtype": "int", "type": "categorical", "min_categr_count": 2},
        {"name": "price", "dtype": "float", "type": "numeric", "normalizer": "StandardScaler"},
    ],
    "label_col": {"name": "label", "dtype": "float"},
}


def write_small(folder: Path, rows: int = 200) -> Places:
    """The files of SMALL under a data root; returns the places that find them."""
    folder = folder / "small"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, split in enumerate(("train", "valid", "test")):
        small_frame(rows if split == "train" else rows // 4, seed).write_csv(folder / f"{split}.csv")
    return Places(data_root=folder.parent)


def small_spec(**changes: Any) -> DatasetSpec:
    return make_spec("small", {**SMALL, **changes})


ITEMS = {
    "data_format": "parquet",
    "rebuild_dataset": False,
    "train_data": "train.parquet",
    "valid_data": "valid.parquet",
    "item_info": "item_info.parquet",
    "feature_cols": [
        {"name": "user_id", "dtype": "int", "type": "meta"},
        {"name": "item_seq", "dtype": "int", "type": "meta", "max_len": 4},
        {"name": "level", "dtype": "int", "type": "categorical", "vocab_size": 3},
        {"name": "item_id", "dtype": "int", "type": "categorical", "source": "item", "vocab_size": 6},
        {"name": "tags", "dtype": "int", "type": "sequence", "source": "item", "max_len": 3, "vocab_size": 9},
        {"name": "vector", "dtype": "float", "type": "embedding", "source": "item", "pretrain_dim": 2},
    ],
    "label_col": {"name": "label", "dtype": "float"},
    "group_id": "user_id",
}


def item_rows(count: int = 7, length: int = 4) -> pl.DataFrame:
    """Rows of users whose histories grow from none to `length` items, left-padded."""
    rng = np.random.default_rng(count)
    histories = [
        [0] * (length - real) + rng.integers(1, 6, real).tolist() for real in np.arange(count) % (length + 1)
    ]
    return pl.DataFrame(
        {
            "user_id": np.arange(count) + 10**10,
            "item_seq": histories,
            "level": np.arange(count) % 3,
            "item_id": np.arange(count) % 5 + 1,
            "label": np.arange(count) % 2,
        }
    )


def item_info() -> pl.DataFrame:
    """Five items and the padding."""
    ids = np.arange(6)
    return pl.DataFrame(
        {
            "item_id": ids,
            "tags": [[0, 0, 0], [3, 4, 0], [8, 0, 0], [1, 2, 3], [5, 0, 0], [0, 0, 0]],
            "vector": [[x / 2, -float(x)] for x in ids],
        }
    )


def write_items(folder: Path, **frames: pl.DataFrame) -> Places:
    """The files of ITEMS under a data root, those given in place of the usual ones."""
    (folder / "shop").mkdir(exist_ok=True)
    usual = {"train": item_rows(), "valid": item_rows(5), "item_info": item_info()}
    for name, frame in (usual | frames).items():
        frame.write_parquet(folder / "shop" / f"{name}.parquet")
    return Places(data_root=folder)


def items_spec(columns: dict[str, dict[str, Any]] | None = None, **changes: Any) -> DatasetSpec:
    """The config ITEMS with changed keys; `columns` changes columns by name."""
    columns = columns or {}
    cols = [{**column, **columns.get(column["name"], {})} for column in ITEMS["feature_cols"]]
    known = [column["name"] for column in ITEMS["feature_cols"]]
    cols += [{"name": name, **entry} for name, entry in columns.items() if name not in known]
    return make_spec("shop", {**ITEMS, "feature_cols": cols, **changes})


def refused_and_unchanged(spec: DatasetSpec, places: Places, **keys: Any) -> list[str]:
    """The problems; nothing may have been written."""
    before = sorted(places.data_root.rglob("*"))
    with pytest.raises(RequestError) as caught:
        open_dataset(spec, places, log=quiet, **keys)
    assert sorted(places.data_root.rglob("*")) == before
    return caught.value.problems


WITH_FUXICTR = """
import importlib, json, sys
import numpy as np
from fuxictr.features import FeatureMap
from fuxictr.preprocess import FeatureProcessor, build_dataset
from fuxictr.pytorch.dataloaders.parquet_dataloader import ParquetDataLoader

jobs = json.load(open(sys.argv[1]))
for params in jobs["builds"]:
    module, _, name = (params.pop("feature_processor", None) or "").partition(":")
    cls = getattr(importlib.import_module(module), name) if module else FeatureProcessor
    build_dataset(cls(**params), **params)
for read in jobs["reads"]:
    feature_map = FeatureMap(read["dataset_id"], read["folder"])
    feature_map.load(read["folder"] + "/feature_map.json", {})
    loader = ParquetDataLoader(feature_map, read["folder"] + "/test.parquet", split="test", batch_size=10**6)
    (batch,) = loader
    np.savez(read["to"], **{name: values.numpy() for name, values in batch.items()})
"""


def run_fuxictr(builds: list[dict[str, Any]], reads: list[dict[str, str]], scratch: Path) -> None:
    """FuxiCTR's own build of several datasets, and its own loader on builds of ours.

    One process does it all, so that Ray starts once.
    """
    (scratch / "jobs.json").write_text(json.dumps({"builds": builds, "reads": reads}))
    (scratch / "work.py").write_text(WITH_FUXICTR)
    command = [sys.executable, str(scratch / "work.py"), str(scratch / "jobs.json")]
    # Else every split waits 10 s for new worker processes, which give way to all others.
    ray = {
        "idle_worker_killing_time_threshold_ms": 600_000,
        "num_workers_soft_limit": 8,
        "worker_niceness": 0,
    }
    environment = {**os.environ, **{f"RAY_{key}": str(value) for key, value in ray.items()}}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
