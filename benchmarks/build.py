"""Building a dataset and passing over its training rows: FuxiCTR beside this package, in one run.

    python benchmarks/build.py [--data-root DIR] [--repeats 3]
    python benchmarks/build.py --criteo-like 5000000 [--fuxictr-rows 100000 300000] [--folder DIR]

Frappe: DIR/frappe_x1/ holds the three CSV files. All sides are timed after imports, the passes after the
loaders are made and one pass has warmed them up; of several repeats the fastest counts. FuxiCTR's
build is timed once: it includes the start of Ray, which each of its builds pays.

Criteo-like: rows as in build_memory.py, each build in a process of its own, timed after imports. FuxiCTR
builds two smaller numbers of rows; the difference of their times over the difference of their rows is its
time per row without its start-up. Ours is the whole time over all rows, start-up included, the median of
--repeats builds, and the same quotient for comparison. The simulated rows are on the
disk before a clock starts. (FuxiCTR's time per row grows a little with the vocabularies, ours, too.)
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # for a run as a script

from benchmarks.build_memory import BUILD, COUNTS, NAMES, run_build, write_dataset  # noqa: E402

DATASET = "frappe_x1"
BATCH_SIZE = 4096

FUXICTR_BUILD = """
import json, logging, resource, sys, time
from pathlib import Path
from fuxictr.datasets.criteo import CustomizedFeatureProcessor
from fuxictr.preprocess import build_dataset
logging.disable(logging.INFO)
root = Path(sys.argv[2])
params = json.loads(sys.argv[1])
params["data_root"] = str(root / "fuxictr")
params["label_col"] = [{"name": "label", "dtype": "float"}]
defaults = {"active": True, "dtype": "str", "type": "categorical"}
params["feature_cols"] = [{**defaults, **column} for column in params["feature_cols"]]
for key in ("train_data", "test_data"):
    params[key] = str(root / "simulated" / params[key])
params["data_format"] = "csv"
started = time.perf_counter()
build_dataset(CustomizedFeatureProcessor(**params), **params)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "seconds": seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--criteo-like", type=int, metavar="ROWS", help="build so many simulated rows instead"
    )
    parser.add_argument("--fuxictr-rows", type=int, nargs=2, default=[100_000, 300_000], metavar="ROWS")
    parser.add_argument("--folder", type=Path, help="for the temporary files; default: the system's")
    args = parser.parse_args()
    # Ray's workers give way to other processes; without this a busy machine would slow one side only.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if args.criteo_like:
        criteo_like(args.criteo_like, sorted(args.fuxictr_rows), args.folder, args.repeats)
        return
    config = yaml.safe_load((Path(__file__).parents[1] / "data_configs" / f"{DATASET}.yaml").read_text())[
        DATASET
    ]
    with tempfile.TemporaryDirectory() as scratch:
        ours = measure_ours(config, args.data_root, Path(scratch), args.repeats)
        theirs = measure_fuxictr(config, args.data_root, Path(scratch), args.repeats)
    report(ours, theirs)


def criteo_like(rows: int, fewer: list[int], folder: Path | None, repeats: int) -> None:
    """Build `rows` of them with this package, and two smaller numbers of rows with both; print the table."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    for count in sorted({rows, *fewer}):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            write_dataset(Path(scratch), count)
            os.sync()
            builds = [run_build(BUILD, Path(scratch)) for _ in range(repeats)]
            found["fuxictr_qnn", count] = sorted(builds, key=lambda build: build["seconds"])[repeats // 2]
            if count in fewer:
                found["FuxiCTR", count] = run_build(FUXICTR_BUILD, Path(scratch))
    fields = len(COUNTS) + len(NAMES)
    table = Table(title=f"Building rows of {fields} fields on {os.cpu_count()} CPU cores")
    for heading in ("", "rows", "seconds", "rows / s", "peak memory"):
        table.add_column(heading, justify="left" if not heading else "right")
    for (name, count), values in sorted(found.items()):
        seconds, peak = values["seconds"], values["peak"]
        speed = f"{count / seconds:,.0f}"
        table.add_row(name, f"{count:,}", f"{seconds:.1f}", speed, f"{peak / 1e9:.2f} GB")
    Console(width=100).print(table)

    def quotient(name: str) -> float:
        """Seconds per row, what every build pays taken out."""
        less, more = (found[name, count]["seconds"] for count in fewer)
        return (more - less) / (fewer[1] - fewer[0])

    if quotient("FuxiCTR") <= 0:
        sys.exit("more rows took FuxiCTR less time: use a quiet machine or larger --fuxictr-rows")
    whole = found["fuxictr_qnn", rows]["seconds"] / rows
    bound = rows * fields * 4 + 2e9
    print(f"FuxiCTR      {quotient('FuxiCTR') * 1e6:.1f} microseconds a row, its start-up taken out")
    print(f"fuxictr_qnn  {whole * 1e6:.1f}, start-up included ({quotient('fuxictr_qnn') * 1e6:.1f} without)")
    print(f"ratio        {quotient('FuxiCTR') / whole:.1f} times faster per row")
    print(
        f"peak memory  {found['fuxictr_qnn', rows]['peak'] / 1e9:.2f} GB of {bound / 1e9:.2f} GB allowed: ",
        end="",
    )
    print("rows x fields x 4 bytes + 2 GB (FuxiCTR's: its main process, without Ray's workers)")


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
