"""One request after another to a QNN-alpha that serves: the eager reference, our scorer, onnxruntime.

    python -m benchmarks.serving [--workload ml1m criteo] [--rows 1 10 100 1000] [--turns 3]

All score the same rows, whose ids lie in memory as each side takes them: columns for our scorer, a matrix
that is made before the clock starts for the others. The reference is the layer as it is printed, in
evaluation mode, without gradients; onnxruntime runs the file that `fuxictr export` writes, on as many
threads as torch. p50 and p99 in milliseconds; – is a p99 of fewer than 100 calls.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from benchmarks.latency import ours, reference
from benchmarks.sides import Action, hardware, measure
from benchmarks.workloads import QNN_ALPHA, Workload
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.serving import onnx
from fuxictr_qnn.serving.graph import Served

SIDES = ("reference", "ours", "onnxruntime")


def exported(workload: Workload, rows: int, file: Path) -> Action:
    """Scoring by onnxruntime, which is loaded in the process that measures."""
    session = onnx.session(file, threads=torch.get_num_threads())
    batch = workload.batch(rows, torch.device("cpu"))
    ids = workload.ids(batch).numpy().astype(np.int64)
    return lambda: onnx.run(session, {"ids": ids})


def lines_of(workload: Workload, sizes: Sequence[int], turns: int, file: Path) -> list[list[str]]:
    """A line for each number of rows: p50 and p99 of each side, and how much faster onnxruntime is."""
    onnx.write_onnx(Served(workload.model().eval()), file, {})
    lines = []
    for rows in sizes:
        makers = (partial(reference, stacked=True), ours, partial(exported, file=file))
        sides = {name: partial(make, workload, rows) for name, make in zip(SIDES, makers, strict=True)}
        found = measure(sides, turns)
        cells = [cell for name in SIDES for cell in found[name].p50_p99()]
        fastest = found["onnxruntime"].median
        ratios = [f"{found[name].median / fastest:.1f}" for name in ("reference", "ours")]
        lines.append([workload.title, f"{rows:,}", *cells, *ratios])
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=QNN_ALPHA, default=["ml1m", "criteo"])
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 10, 100, 1000])
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args(argv)
    onnx.require_onnx()
    lines: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.workload:
            lines += lines_of(QNN_ALPHA[name], args.rows, args.turns, Path(folder) / f"{name}.onnx")
    header = ["model", "rows"]
    for name in SIDES:
        header += [f"{name} p50", "p99"]
    header += ["reference / onnxruntime", "ours / onnxruntime"]
    print(f"{hardware()}, onnxruntime {metadata.version('onnxruntime')}\n\n{markdown(header, lines)}")


if __name__ == "__main__":
    main()
