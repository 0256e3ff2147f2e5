"""Scoring some rows with a QNN-alpha that is loaded, beside the layer as it is printed.

    python -m benchmarks.latency [--workload frappe ml1m criteo] [--rows 1 10 100 1000 10000] [--turns 3]

Both sides score rows whose columns lie in memory, eagerly, without gradients: ours by the model's scorer (as
evaluation and prediction do), the other with the model in evaluation mode. p50 and p99 in milliseconds.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.reference import QNNalphaReference
from benchmarks.run_folders import markdown
from benchmarks.sides import Action, hardware, measure
from benchmarks.train_step import device
from benchmarks.workloads import QNN_ALPHA, Workload


def ours(workload: Workload, rows: int) -> Action:
    scorer = workload.model(gpu=0 if device().type == "cuda" else -1).eval().scorer()
    batch = workload.batch(rows, device())
    return torch.inference_mode()(lambda: scorer(batch))


def reference(workload: Workload, rows: int) -> Action:
    model = QNNalphaReference(list(workload.vocabularies.values()), workload.params)
    model.load_from(workload.model())
    model.to(device()).eval()
    batch = workload.batch(rows, device())
    ids = torch.stack([batch[name] for name in workload.vocabularies], dim=1)
    return torch.inference_mode()(lambda: model(ids))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=QNN_ALPHA, default=list(QNN_ALPHA))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    lines = []
    for workload in (QNN_ALPHA[name] for name in args.workload):
        for rows in args.rows:
            sides = {"reference": partial(reference, workload, rows), "ours": partial(ours, workload, rows)}
            found = measure(sides, args.turns)
            cells = [f"{1e3 * times.quantile(q):.3f}" for times in found.values() for q in (0.5, 0.99)]
            ratio = found["reference"].median / found["ours"].median
            lines.append([workload.title, f"{rows:,}", *cells, f"{ratio:.2f}"])
    header = ["model", "rows", "reference p50", "p99", "ours p50", "p99", "times faster"]
    print(f"{hardware()}\n\n{markdown(header, lines)}")


if __name__ == "__main__":
    main()
