"""A small click log with a column of every type, and a run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fuxictr_qnn.data import BuiltDataset, ColumnSpec, DatasetSpec, LabelSpec, Places, build_dataset
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.settings import FitSettings

COLUMNS: list[dict[str, Any]] = [
    {"name": "user", "dtype": "str", "min_categr_count": 3},
    {"name": "item", "dtype": "int", "fill_na": 0},
    {"name": "city", "dtype": "float"},
    {"name": "tags", "dtype": "str", "type": "sequence", "splitter": "|", "max_len": 3, "padding": "pre"},
    {"name": "liked", "dtype": "str", "type": "sequence", "splitter": "|", "share_embedding": "tags"},
    {"name": "price", "dtype": "float", "type": "numeric", "normalizer": "StandardScaler"},
    {"name": "stock", "dtype": "float", "type": "numeric", "normalizer": "MinMaxScaler", "fill_na": 7},
    {"name": "device", "dtype": "str", "category_processor": "hash_bucket", "num_buckets": 5},
    {"name": "age", "dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 4},
    {"name": "vector", "dtype": "str", "type": "embedding", "splitter": " ", "pretrain_dim": 2},
    {"name": "bucket", "dtype": "float", "type": "categorical", "preprocess": "convert_to_bucket(stock)"},
    {"name": "shopper", "dtype": "str", "type": "meta"},
    {"name": "unused", "dtype": "str", "active": False, "preprocess": "copy_from(gone)"},
]


def clicks(rows: int, seed: int) -> pl.DataFrame:
    """About one cell in eight is missing; later seeds have users and tags that the first has not."""
    rng = np.random.default_rng(seed)

    def some(values: list[Any]) -> list[Any]:
        return [value if rng.random() > 0.12 else None for value in values]

    def tags() -> str:
        return "|".join(f"t{tag}" for tag in rng.integers(0, 8 + seed, rng.integers(1, 5)))

    users = [f"u{user}" for user in rng.integers(0, 20 + 3 * seed, rows)]
    return pl.DataFrame(
        {
            "row": [f"{row:05d}" for row in range(rows)],
            "user": some(users),
            "item": some((rng.zipf(1.5, rows) % 40).tolist()),
            "city": some((rng.integers(0, 9 + seed, rows) / 2).tolist()),
            "tags": some([tags() for _ in range(rows)]),
            "liked": some([tags() for _ in range(rows)]),
            "price": some(rng.normal(10, 3, rows).round(3).tolist()),
            "stock": some(rng.integers(0, 400, rows).astype(float).tolist()),
            "device": some([f"d{device}" for device in rng.integers(0, 12, rows)]),
            "age": some(rng.normal(40, 12, rows).round(1).tolist()),
            "vector": [f"{a:.2f} {b:.2f}" for a, b in rng.normal(0, 1, (rows, 2))],
            "gone": some([f"g{gone}" for gone in rng.integers(0, 3, rows)]),
            "shopper": users,
            "label": rng.integers(0, 2, rows),
        }
    )


ROWS = {"train": 600, "valid": 200, "test": 250}


def write_clicks(folder: Path, kind: str = "csv", rows: dict[str, int] = ROWS) -> dict[str, Path]:
    """The splits as files; parquet has lists where CSV has text with separators."""
    files = {split: folder / f"{split}.{kind}" for split in rows}
    for seed, split in enumerate(rows):
        frame = clicks(rows[split], seed)
        if kind == "csv":
            frame.write_csv(files[split])
        else:
            lists = [pl.col(name).str.split("|") for name in ("tags", "liked")]
            vector = pl.col("vector").str.split(" ").cast(pl.List(pl.Float64))
            frame.with_columns(*lists, vector).write_parquet(files[split])
    return files


def spec_of(kind: str = "csv", columns: list[dict[str, Any]] = COLUMNS, **more: Any) -> DatasetSpec:
    if kind == "parquet":  # lists are joined by ^
        columns = [{**column, "splitter": "^"} for column in columns]
    return DatasetSpec(
        dataset_id="clicks",
        data_format=kind,
        **{f"{split}_data": f"{split}.{kind}" for split in ROWS},
        feature_cols=[ColumnSpec(**column) for column in columns],
        label_col=[LabelSpec(name="label")],
        group_id="shopper",
        **more,
    )


def build(folder: Path, spec: DatasetSpec) -> BuiltDataset:
    return build_dataset(spec, Places(data_root=folder, config_dir=folder), log=lambda message: None)


def experiment_of(spec: DatasetSpec, model: str = "DNN", **params: Any) -> Experiment:
    return Experiment(
        expid=f"{model}_clicks",
        model=model,
        model_params={"embedding_dim": 4, "hidden_units": [8]} | params,
        features=FeatureUse(embedding_dim=4),
        fit=FitSettings(epochs=1, batch_size=100, metrics=["AUC", "gAUC", "logloss"]),
        dataset=spec,
    )
