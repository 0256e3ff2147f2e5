"""The memory that a training step of QNN-alpha needs, beside the layer as it is printed.

    python -m benchmarks.memory [--workload frappe ml1m criteo]

On a GPU the allocator's peak during a step less what is held before it. On a CPU the same of the process's
resident memory (Linux), with the allocator as it is by default, so that what a step frees is given back.
"""

from __future__ import annotations

import argparse
from functools import partial

from benchmarks.sides import hardware, memory
from benchmarks.train_step import ours, reference
from benchmarks.workloads import QNN_ALPHA
from fuxictr_qnn.reporting.table import markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=QNN_ALPHA, default=list(QNN_ALPHA))
    args = parser.parse_args()
    rows = []
    for workload in (QNN_ALPHA[name] for name in args.workload):
        theirs, mine = (
            memory(partial(reference, workload)),
            memory(partial(ours, workload, keep_freed=False)),
        )
        sizes = [f"{size / 2**20:.0f}" for size in (theirs, mine)]
        rows.append([f"{workload.title}, {workload.batch_size:,} rows", *sizes, f"{mine / theirs:.2f}"])
    print(f"{hardware()}\n\n{markdown(['step', 'reference, MiB', 'ours, MiB', 'ratio'], rows)}")


if __name__ == "__main__":
    main()
