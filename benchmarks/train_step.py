"""A training step of QNN-alpha, side by side with the layer as it is printed (benchmarks/reference.py).

    python -m benchmarks.train_step [--workload frappe ml1m criteo] [--amp] [--turns 5]

Both sides have the same weights, take the same batches of the published size, and run what a user runs:
ours the step of `fuxictr run`, the other plain PyTorch. `its products alone` are the matrix products of the
rows, which no identity removes, at the step's own shapes; `bound` is their time at the rate of a large square
product on this machine.

Ours and its products alone have the allocator setting of `fuxictr run` (keep_freed_memory), the reference
only where it says so. A side whose first call takes 20 s is that one call, not warmed up: Criteo's reference
on two cores.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from benchmarks.reference import QNNalphaReference
from benchmarks.sides import Action, hardware, matmul_rate, measure, terms
from benchmarks.workloads import LABEL, QNN_ALPHA, Workload
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.training.device import keep_freed_memory
from fuxictr_qnn.training.step import TrainStep

BATCHES = 4  # that a side takes in turn


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def ours(workload: Workload, keep_freed: bool = True) -> Action:
    """The step that `fuxictr run` makes, with its allocator settings unless told otherwise."""
    if keep_freed:
        keep_freed_memory()
    model = workload.model(gpu=0 if device().type == "cuda" else -1)
    model.train()
    step = TrainStep(model, workload.experiment.fit)
    batches = [workload.batch(workload.batch_size, device(), seed) for seed in range(BATCHES)]
    return lambda: (step([batches[0]]), batches.append(batches.pop(0)))


def reference(workload: Workload, tuned: bool = False) -> Action:
    """The step as the paper prints it; `tuned` with the allocator settings of `fuxictr run`."""
    if tuned:
        keep_freed_memory()
    model = QNNalphaReference(workload.vocabularies, workload.params, workload.sequences).to(device())
    model.load_from(workload.model())
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.experiment.fit.learning_rate)
    batches = [workload.batch(workload.batch_size, device(), seed) for seed in range(BATCHES)]
    pairs = [(workload.ids(b), b[LABEL][:, None]) for b in batches]
    return lambda: (model.step(optimizer, *pairs[0]), pairs.append(pairs.pop(0)))


def layers_of(workload: Workload) -> tuple[int, int, int]:
    """Passes through a layer (both share the first one's products), its width D and M * D."""
    params = workload.params
    width = params["embedding_dim"] * len(workload.vocabularies)
    return 1 + 2 * (params["num_layers"] - 1), width, params["num_row"] * width


def operations(workload: Workload) -> float:
    """Floating-point operations of those products: 2 B D (M D) forward and twice that backward."""
    passes, width, rows = layers_of(workload)
    return 3 * passes * 2 * workload.batch_size * width * rows


def products(workload: Workload) -> Action:
    """The rows' products of a step, forward and backward, and nothing else."""
    keep_freed_memory()
    passes, width, rows = layers_of(workload)
    x, weight = torch.randn(workload.batch_size, width), torch.randn(rows, width)
    x, weight = x.to(device()), weight.to(device())

    def step() -> None:
        for _ in range(passes):
            z = x @ weight.t()
            z.t() @ x, z @ weight

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=QNN_ALPHA, default=list(QNN_ALPHA))
    parser.add_argument("--amp", action="store_true", help="a further side: ours with bfloat16 products")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    rate, rows = matmul_rate(), []
    for workload in (QNN_ALPHA[name] for name in args.workload):
        sides = {
            "reference": partial(reference, workload),
            "reference, same allocator": partial(reference, workload, tuned=True),
            "ours": partial(ours, workload),
            "its products alone": partial(products, workload),
        }
        if args.amp:
            sides["ours, bf16"] = partial(ours, workload.changed("amp=bf16"))
        found = measure(sides, args.turns)
        for side, times in found.items():
            rows.append(
                [
                    f"{workload.title}, {workload.batch_size:,} rows",
                    side,
                    times.shown(1, 1e3),
                    f"{found['reference'].median / times.median:.2f}",
                    f"{1e3 * operations(workload) / rate:.1f}",
                ]
            )
    header = ["step", "side", "ms (median)", "times faster", "bound, ms"]
    print(f"{hardware()}\n\n{markdown(header, rows)}\n\n{terms(__doc__)}")


if __name__ == "__main__":
    main()
