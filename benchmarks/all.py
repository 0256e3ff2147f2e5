"""The benchmarks of docs/speed.md, one after another; each table is written to benchmarks/results/.

    python -m benchmarks.all [--data-root DIR] [--only NAME ...]

DIR/frappe_x1 and DIR/ml_1m_x1 hold the CSV files; without them `epoch` and the splits of `evaluate` are left
out. A quiet machine, please: it takes nineteen minutes on two cores. serving, sweep, build, build_memory and
startup are not among them: each is run by itself, and what it gave is put on a page by hand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
SCRIPTS = {  # name -> its arguments, where {data} is the data root
    "train_step": "",
    "memory": "",
    "qin": "",
    "bilinear": "--turns 1",
    "latency": "--turns 1",
    "scaling": "--turns 1",
    "epoch": "--data-root {data} --turns 1",
    "evaluate": "--data-root {data} --dataset frappe ml1m --turns 1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    args = parser.parse_args()
    there = all((args.data_root / name).is_dir() for name in ("frappe_x1", "ml_1m_x1"))
    for name in args.only:
        if "{data}" in SCRIPTS[name] and not there:
            print(f"{name}: left out, '{args.data_root}' has no frappe_x1 and ml_1m_x1")
            continue
        arguments = SCRIPTS[name].format(data=args.data_root).split()
        shown = " ".join(["python -m", f"benchmarks.{name}", *SCRIPTS[name].format(data="data").split()])
        print(shown, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, cwd=RESULTS.parents[1])
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        text = f"`{shown}`, {date.today()}\n\n{done.stdout}"
        (RESULTS / f"{name}.md").write_text(text)
        print(f"{done.stdout}\n{time.perf_counter() - began:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
