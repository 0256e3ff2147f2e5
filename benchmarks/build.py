"""Building Frappe and passing over its training rows: FuxiCTR beside this package, in one run.

    python benchmarks/build.py [--data-root DIR] [--repeats 3]

DIR/frappe_x1/ holds the three CSV files. All sides are timed after imports, the passes after the
loaders are made and one pass has warmed them up; of several repeats the fastest counts. FuxiCTR's
build is timed once: it includes the start of Ray, which each of its builds pays.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

DATASET = "frappe_x1"
BATCH_SIZE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    # Ray's workers give way to other processes; without this a busy machine would slow one side only.
    os.environ.setdefault("RAY_worker_niceness", "0")
    config = yaml.safe_load((Path(__file__).parents[1] / "data_configs" / f"{DATASET}.yaml").read_text())[
        DATASET
    ]
    with tempfile.TemporaryDirectory() as scratch:
        ours = measure_ours(config, args.data_root, Path(scratch), args.repeats)
        theirs = measure_fuxictr(config, args.data_root, Path(scratch), args.repeats)
    report(ours, theirs)


def measure_ours(config: dict[str, Any], data_root: Path, scratch: Path, repeats: int) -> dict[str, float]:
    from fuxictr_qnn.data import (
        ColumnSpec,
        DatasetSpec,
        LabelSpec,
        MemoryLoader,
        Places,
        build_dataset,
        load_feature_map,
    )

    (columns,) = config["feature_cols"]
    spec = DatasetSpec(
        dataset_id=DATASET,
        feature_cols=[ColumnSpec(**{**columns, "name": name}) for name in columns["name"]],
        label_col=[LabelSpec(**config["label_col"])],
        **{key: value for key, value in config.items() if key not in ("feature_cols", "label_col")},
    )
    times = []
    for number in range(repeats):
        started = time.perf_counter()
        places = Places(data_root=data_root, build_dir=scratch / f"ours-{number}")
        built = build_dataset(spec, places, log=lambda message: None)
        times.append(time.perf_counter() - started)
    choice = SimpleNamespace(embedding_dim=16, use_features=None, feature_specs=None)
    feature_map = load_feature_map(built.feature_map, spec, choice)
    loader = MemoryLoader(feature_map, built.train, batch_size=BATCH_SIZE, shuffle=True)
    return {"build": min(times), "pass": fastest_pass(loader, repeats)}


def measure_fuxictr(config: dict[str, Any], data_root: Path, scratch: Path, repeats: int) -> dict[str, float]:
    from fuxictr.features import FeatureMap
    from fuxictr.preprocess import FeatureProcessor, build_dataset
    from fuxictr.pytorch.dataloaders import RankDataLoader

    logging.disable(logging.INFO)
    paths = {key: str(data_root / config[key]) for key in ("train_data", "valid_data", "test_data")}
    params = {**config, **paths, "dataset_id": DATASET, "data_root": str(scratch / "fuxictr")}
    started = time.perf_counter()
    train, valid, _ = build_dataset(FeatureProcessor(**params), **params)
    seconds = time.perf_counter() - started
    folder = scratch / "fuxictr" / DATASET
    feature_map = FeatureMap(DATASET, str(folder))
    feature_map.load(str(folder / "feature_map.json"), {"embedding_dim": 16})
    loader, _ = RankDataLoader(
        feature_map, stage="train", train_data=train, valid_data=valid, batch_size=BATCH_SIZE,
        shuffle=True, data_format="parquet",
    )  # fmt: skip
    return {"build": seconds, "pass": fastest_pass(loader, repeats)}


def fastest_pass(loader: Any, repeats: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        rows = sum(len(batch["label"]) for batch in loader)
        assert rows == loader.num_samples
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(repeats))


def report(ours: dict[str, float], theirs: dict[str, float]) -> None:
    table = Table(title=f"{DATASET} on {os.cpu_count()} CPU cores")
    for heading in ("", "FuxiCTR", "fuxictr_qnn", "times faster"):
        table.add_column(heading, justify="left" if not heading else "right")
    names = {"build": "build", "pass": f"a pass in batches of {BATCH_SIZE:,}, shuffled"}
    show: Callable[[float], str] = "{:.3f} s".format
    for key, name in names.items():
        table.add_row(name, show(theirs[key]), show(ours[key]), f"{theirs[key] / ours[key]:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
