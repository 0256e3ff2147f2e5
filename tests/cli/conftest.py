"""A small shop: raw CSV and a FuxiCTR config directory, trained in a second."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

QNN_CONFIG = """
Base:
    model: QNNalpha
    dataset_id: shop
    metrics: [AUC, logloss]
    embedding_dim: 4
    num_layers: 1
    num_row: 2
    net_dropout: 0.1
    learning_rate: 1e-2
    batch_size: 64
    epochs: 2
    seed: 7
QNN_shop: {}
"""
LR_CONFIG = """
Base: {model: LR, dataset_id: shop, metrics: [AUC, logloss], batch_size: 64, epochs: 2, seed: 7}
LR_shop: {learning_rate: 1e-2}
"""
DATASET_CONFIG = """
shop:
    data_format: csv
    train_data: ../data/shop/train.csv
    valid_data: ../data/shop/valid.csv
    test_data: ../data/shop/test.csv
    feature_cols:
        - {name: [user, item], active: True, dtype: str, type: categorical}
    label_col: {name: label, dtype: float}
"""


class Shop(NamedTuple):
    """Where the shop lies."""

    root: Path
    config: Path

    def files(self) -> set[str]:
        """Every path below the root: what a command left behind shows in it."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A fresh shop; the working directory is its root."""
    config, data = tmp_path / "config", tmp_path / "data" / "shop"
    (config / "model_config").mkdir(parents=True)
    data.mkdir(parents=True)
    (config / "model_config" / "qnn.yaml").write_text(QNN_CONFIG)
    (config / "model_config" / "lr.yaml").write_text(LR_CONFIG)
    (config / "dataset_config.yaml").write_text(DATASET_CONFIG)
    rng = random.Random(1)
    for split, rows in (("train", 640), ("valid", 200), ("test", 200)):
        lines = ["label,user,item"]
        for _ in range(rows):
            user, item = rng.randrange(20), rng.randrange(30)
            lines.append(f"{int(rng.random() < (0.8 if (user + item) % 2 else 0.2))},u{user},i{item}")
        (data / f"{split}.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, config)
