"""How the cost of QNN-alpha grows: training steps and scoring against rows, fields, embedding size, M and L.

    python -m benchmarks.scaling [--turns 3]

From 20 fields, embedding size 16, M = 4, L = 2 with batch norm and 2,048 rows, one number changes at a time.
`slope` is the b of seconds = a * number^b, by least squares over the logarithms: fields and embedding size
widen both sides of each matrix, so that 2 is expected where products decide, 1 for rows, M and L.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks import latency, train_step
from benchmarks.sides import hardware, measure
from benchmarks.workloads import Workload
from fuxictr_qnn.reporting.table import markdown


@dataclass(frozen=True)
class Shape:
    rows: int = 2048
    fields: int = 20
    embedding_dim: int = 16
    num_row: int = 4
    num_layers: int = 2

    @property
    def workload(self) -> Workload:
        settings = {
            "batch_size": self.rows,
            "embedding_dim": self.embedding_dim,
            "num_row": self.num_row,
            "num_layers": self.num_layers,
            "batch_norm": "true",
        }
        texts = tuple(f"{key}={value}" for key, value in settings.items())
        return Workload("", "QNNalpha_frappe", texts, self.fields)


VARIED = {
    "rows": (512, 1024, 2048, 4096, 8192),
    "fields": (5, 10, 20, 40),
    "embedding_dim": (4, 8, 16, 32),
    "num_row": (1, 2, 4, 8, 16),
    "num_layers": (1, 2, 4, 8),
}


def slope(numbers: tuple[int, ...], seconds: list[float]) -> float:
    """b of seconds = a * number^b."""
    return float(np.polyfit(np.log(numbers), np.log(seconds), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    rows = []
    for name, numbers in VARIED.items():
        shapes = [replace(Shape(), **{name: number}) for number in numbers]
        for what, make in (
            ("training step", lambda shape: partial(train_step.ours, shape.workload)),
            ("scoring", lambda shape: partial(latency.ours, shape.workload, shape.rows)),
        ):
            sides = {str(number): make(shape) for number, shape in zip(numbers, shapes, strict=True)}
            found = [times.median for times in measure(sides, args.turns).values()]
            cells = ", ".join(
                f"{number:,}: {1e3 * each:.1f}" for number, each in zip(numbers, found, strict=True)
            )
            rows.append([name, what, cells, f"{slope(numbers, found):.2f}"])
    print(f"{hardware()}\n\n{markdown(['varied', 'cost of', 'number: ms', 'slope'], rows)}")


if __name__ == "__main__":
    main()
