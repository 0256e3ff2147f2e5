"""Run folders as `fuxictr run` leaves them, with results made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from fuxictr_qnn.data.fingerprint import ABOUT
from fuxictr_qnn.reporting.entries import Entry, entries_by_data
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.metrics import auc, logloss

ROWS = 400


def scores_of(skill: float, seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and users, the same for every run, and calibrated-looking predictions of some skill."""
    data = np.random.default_rng(0)
    labels, users = data.integers(2, size=rows).astype(float), data.integers(40, size=rows)
    shared = data.normal(size=rows)
    noise = np.random.default_rng(1000 + seed).normal(size=rows)
    logits = skill * (2 * labels - 1) + shared + 0.05 * noise
    return labels, 1 / (1 + np.exp(-logits)), users


def make_run(
    root: Path,
    expid: str,
    seed: int,
    skill: float = 1.0,
    *,
    model: str = "DNN",
    dataset_id: str = "shop",
    fingerprint: str = "f" * 16,
    valid: float | None = None,
    params: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    groups: bool = False,
    metrics: dict[str, Any] | None = None,
) -> Path:
    """One complete run; `metrics` overrides what metrics.json says, `dataset` adds to its config.

    Returns its folder.
    """
    params = {"embedding_dim": 4, "num_layers": 1, **(params or {})}
    experiment = Experiment(
        expid=expid,
        model=model,
        model_params=params,
        features={"embedding_dim": params["embedding_dim"]},
        fit={"learning_rate": 0.001, "batch_size": 64},
        dataset={"dataset_id": dataset_id, **(dataset or {})},
    )
    folder = root / f"{expid}-{experiment.digest}" / f"seed{seed}"
    folder.mkdir(parents=True)
    labels, predictions, users = scores_of(skill, seed)
    columns = {"y_pred": predictions, "y_true": labels} | ({"group": users} if groups else {})
    pl.DataFrame(columns).write_parquet(folder / "test_scores.parquet")
    test = {"AUC": auc(labels, predictions), "logloss": logloss(labels, predictions)}
    record = {
        "expid": expid,
        "model": model,
        "dataset_id": dataset_id,
        "seed": seed,
        "valid": {"AUC": valid if valid is not None else test["AUC"] - 0.001, "logloss": test["logloss"]},
        "test": test,
        "parameters": 1000 + len(expid),
        "parameters_without_embeddings": 100,
        "epochs": 4,
        "best_epoch": 2,
        "seconds": {"build": 1.0, "train": 8.0, "evaluate": 0.5},
        "rows_per_second": 12345,
        "peak_memory_mb": 99.5,
        "device": "cpu (1 threads)",
        "data_fingerprint": fingerprint,
        "config_digest": experiment.digest,
    }
    config = {
        "experiment": experiment.model_dump(mode="json", exclude={"dataset": ABOUT}),
        "seed": seed,
        "data_fingerprint": fingerprint,
    }
    history = [
        {
            "evaluation": epoch,
            "epoch": epoch,
            "step": 10 * epoch,
            "train_loss": 1.0 / epoch,
            "learning_rate": 0.001,
            "AUC": record["valid"]["AUC"] - 0.01 * abs(2 - epoch),
            "logloss": 0.5 + 0.01 * abs(2 - epoch),
            "best": epoch <= 2,
            "lr_cut": epoch == 3,
            "seconds": 2.0 * epoch,
        }
        for epoch in range(1, 5)
    ]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    (folder / "metrics.json").write_text(json.dumps(record | (metrics or {})))
    return folder


def make_entries(root: Path, skills: dict[str, float], seeds: int = 3, **options: Any) -> list[Entry]:
    """An entry an expid, with some seeds each; `options` as in `make_run`."""
    for expid, skill in skills.items():
        for seed in range(1, seeds + 1):
            make_run(root, expid, seed, skill, model=expid.partition("_")[0], **options)
    ((_, entries),) = entries_by_data(find_runs([root]).runs).items()
    return entries
