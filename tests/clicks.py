"""A small click log and a tuner file that holds everything, for tests of jobs and sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.settings import FitSettings

ROWS = {"train": 1500, "valid": 400, "test": 300}
DATASET = {
    **{f"{split}_data": f"clicks/{split}.csv" for split in ROWS},
    "feature_cols": [{"name": ["user", "item"], "active": True, "dtype": "int", "type": "categorical"}],
    "label_col": {"name": "click", "dtype": "float"},
}
EXPID = {
    "model": "QNNalpha",
    "dataset_id": "clicks",
    "metrics": ["AUC", "logloss"],
    "embedding_dim": 4,
    "num_layers": 1,
    "net_dropout": 0.1,
    "learning_rate": 0.01,
    "batch_size": 100,
    "epochs": 3,
    "early_stop_patience": 3,
    "seed": 7,
}


def write_clicks(root: Path, rows: dict[str, int] = ROWS, seed: int = 0) -> Path:
    """The log as CSV files in root/clicks; returns root, a data root."""
    rng = np.random.default_rng(seed)
    (root / "clicks").mkdir(parents=True, exist_ok=True)
    for split, count in rows.items():
        user, item = rng.integers(0, 40, count), rng.integers(0, 30, count)
        p = 1 / (1 + np.exp(-2 * (np.sin(user) + np.cos(item) * np.sin(user * 2))))
        click = (rng.uniform(size=count) < p).astype(int)
        pl.DataFrame({"click": click, "user": user, "item": item}).write_csv(root / "clicks" / f"{split}.csv")
    return root


def tuner_content(space: dict[str, Any], **expid: Any) -> dict[str, Any]:
    """A tuner file with its configs inline; `expid` changes keys of the experiment."""
    return {
        "base_expid": "QNNalpha_clicks",
        "model_config": {"QNNalpha_clicks": EXPID | expid},
        "dataset_config": {"clicks": DATASET},
        "tuner_space": space,
    }


def write_tuner(file: Path, space: dict[str, Any], **expid: Any) -> Path:
    file.write_text(yaml.safe_dump(tuner_content(space, **expid), sort_keys=False))
    return file


def experiment(model: str = "QNNalpha", params: dict[str, Any] | None = None, **fit: Any) -> Experiment:
    """The experiment of the tuner file, made without it."""
    columns = [{"name": name, "dtype": "int"} for name in ("user", "item")]
    paths = {key: value for key, value in DATASET.items() if key.endswith("_data")}
    label = [{"name": "click", "dtype": "float"}]
    dataset = DatasetSpec(dataset_id="clicks", feature_cols=columns, label_col=label, **paths)
    settings = {"batch_size": 100, "epochs": 3, "learning_rate": 0.01, "early_stop_patience": 3}
    return Experiment(
        expid=f"{model.rpartition(':')[2]}_clicks",
        model=model,
        model_params={"embedding_dim": 4} | (params or {"num_layers": 1}),
        features=FeatureUse(embedding_dim=4),
        fit=FitSettings(**settings | fit),
        dataset=dataset,
    )
