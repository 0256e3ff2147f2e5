"""Evaluation: a split scored and measured, and gAUC over many groups, beside FuxiCTR.

    python -m benchmarks.evaluate --data-root DIR [--dataset frappe ml1m] [--turns 3]
    python -m benchmarks.evaluate --gauc-rows 500000 --gauc-groups 50000

The first scores the validation split with a QNN-alpha and takes AUC and logloss: ours as `fuxictr run` does,
the other by BaseModel.evaluate on RankDataLoader with the layer as it is printed. The second is gAUC alone.

Scoring a split, only ours has the allocator setting of `fuxictr run` (keep_freed_memory). A side whose first
call takes 20 s is that one call, not warmed up: FuxiCTR's gAUC on two cores.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.epoch import DATASETS, built, fuxictr_model, our_model
from benchmarks.sides import Action, hardware, measure, terms
from benchmarks.workloads import QNN_ALPHA, Workload
from fuxictr_qnn.data import Places
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.training.evaluation import evaluate
from fuxictr_qnn.training.metrics import evaluate_metrics

METRICS = ["AUC", "logloss"]


def ours(workload: Workload, places: Places) -> Action:
    model, loaders = our_model(workload, places)
    return lambda: evaluate(model, loaders["valid"], METRICS)


def fuxictr(workload: Workload, places: Places) -> Action:
    model, _, valid = fuxictr_model(workload, places)
    return lambda: model.evaluate(valid, metrics=METRICS)


def scores(rows: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, rows).astype(float)
    return label, rng.random(rows), rng.integers(0, groups, rows)


def our_gauc(rows: int, groups: int) -> Action:
    label, score, group = scores(rows, groups)
    return lambda: evaluate_metrics(label, score, ["gAUC"], group)


def fuxictr_gauc(rows: int, groups: int) -> Action:
    from fuxictr.metrics import evaluate_metrics as theirs

    label, score, group = scores(rows, groups)
    return lambda: theirs(label, score, ["gAUC"], group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--build-dir", type=Path, default=Path("builds"))
    parser.add_argument("--dataset", nargs="*", choices=DATASETS, default=[])
    parser.add_argument("--gauc-rows", type=int, default=500_000)
    parser.add_argument("--gauc-groups", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    places = Places(data_root=args.data_root, build_dir=args.build_dir)
    size = (args.gauc_rows, args.gauc_groups)
    name = f"gAUC, {size[0]:,} rows in {size[1]:,} groups"
    pairs = {name: {"FuxiCTR": partial(fuxictr_gauc, *size), "ours": partial(our_gauc, *size)}}
    for workload in (QNN_ALPHA[name] for name in args.dataset):
        built(workload, places)
        sides = {"FuxiCTR": partial(fuxictr, workload, places), "ours": partial(ours, workload, places)}
        pairs[f"validation split, {workload.title}"] = sides
    rows = []
    for title, sides in pairs.items():
        found = measure(sides, args.turns)
        ratio = f"{found['FuxiCTR'].median / found['ours'].median:.1f}"
        rows.append([title, *(found[name].shown(3) for name in sides), ratio])
    header = ["evaluation", "FuxiCTR, s", "ours, s", "times faster"]
    print(f"{hardware()}\n\n{markdown(header, rows)}\n\n{terms(__doc__)}")


if __name__ == "__main__":
    main()
