"""Seconds from the end of the imports to the first training step, when the build exists.

python benchmarks/startup.py --data-root data --expid QNNalpha_frappe QNNalpha_ml1m
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Stops the process at the first step, so that nothing but the way to it is measured.
FIRST_STEP = """
import os, sys, time
began = time.perf_counter()
import torch._dynamo  # torch imports it with the first optimizer
import fuxictr_qnn.training.run
from fuxictr_qnn.cli import main
from fuxictr_qnn.models.registry import OWN_MODELS, find_model
from fuxictr_qnn.training.step import TrainStep
for name in OWN_MODELS:
    find_model(name)
imported = time.perf_counter()
def first_step(self, batches):
    print(f"imports {imported - began:.2f} first batch {time.perf_counter() - imported:.2f}", flush=True)
    os._exit(0)
TrainStep.__call__ = first_step
sys.exit(main(sys.argv[1:]))
"""


def seconds_to_first_batch(expid: str, data_root: Path, build_dir: Path) -> str:
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            "run",
            "--expid",
            expid,
            "--data-root",
            str(data_root),
            "--build-dir",
            str(build_dir),
            "--out",
            out,
        ]
        run = subprocess.run([sys.executable, "-c", FIRST_STEP, *arguments], capture_output=True, text=True)
    lines = [line for line in run.stdout.splitlines() if line.startswith("imports")]
    return lines[0] if lines else f"failed: {run.stderr.strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--expid", nargs="+", default=["QNNalpha_frappe", "QNNalpha_ml1m"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as build_dir:
        for expid in arguments.expid:
            began = time.perf_counter()
            seconds_to_first_batch(expid, arguments.data_root, Path(build_dir))  # makes the build
            print(f"{expid}: with the build {time.perf_counter() - began:.1f} s in all")
            for _ in range(3):
                print(f"{expid}: {seconds_to_first_batch(expid, arguments.data_root, Path(build_dir))} s")


if __name__ == "__main__":
    main()
