"""Scoring some rows with a QNN-alpha that is loaded, beside the layer as it is printed.

    python -m benchmarks.latency [--workload frappe ml1m criteo] [--rows 1 10 100 1000 10000] [--turns 3]

Both sides score rows whose columns lie in memory, eagerly, without gradients: ours by the model's scorer (as
evaluation and prediction do), the other with the model in evaluation mode, stacking the columns as a part of
it. p50 and p99 in milliseconds; – is a p99 of fewer than 100 calls.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.reference import QNNalphaReference
from benchmarks.sides import Action, hardware, measure
from benchmarks.train_step import device, layers_of
from benchmarks.workloads import QNN_ALPHA, Workload
from fuxictr_qnn.reporting.table import markdown


def ours(workload: Workload, rows: int) -> Action:
    scorer = workload.model(gpu=0 if device().type == "cuda" else -1).eval().scorer()
    batch = workload.batch(rows, device())
    return torch.inference_mode()(lambda: scorer(batch))


def reference(workload: Workload, rows: int, stacked: bool = False) -> Action:
    """From columns; `stacked` from a matrix of ids that lies ready."""
    model = QNNalphaReference(workload.vocabularies, workload.params, workload.sequences)
    model.load_from(workload.model())
    model.to(device()).eval()
    batch = workload.batch(rows, device())
    if stacked:
        ids = workload.ids(batch)
        return torch.inference_mode()(lambda: model(ids))
    return torch.inference_mode()(lambda: model(workload.ids(batch)))


def products(workload: Workload, rows: int) -> Action:
    """The matrix products of the layers and nothing else."""
    _, width, outputs = layers_of(workload)
    x = torch.randn(rows, width, device=device())
    weights = [torch.randn(width, outputs, device=device()) for _ in range(workload.params["num_layers"])]
    return torch.inference_mode()(lambda: [x @ weight for weight in weights])


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
            sides["products"] = partial(products, workload, rows)
            found = measure(sides, args.turns)
            bound = f"{1e3 * found.pop('products').median:.3f}"
            cells = [cell for times in found.values() for cell in times.p50_p99()]
            ratio = found["reference"].median / found["ours"].median
            lines.append([workload.title, f"{rows:,}", *cells, f"{ratio:.2f}", bound])
    header = ["model", "rows", "reference p50", "p99", "ours p50", "p99", "times faster", "products p50"]
    print(f"{hardware()}\n\n{markdown(header, lines)}")


if __name__ == "__main__":
    main()
