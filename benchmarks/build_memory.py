"""The memory that a build needs: 5 million simulated rows of 39 fields.

    python benchmarks/build_memory.py [--rows 5000000] [--folder DIR]

Criteo-like: 13 counts in buckets, 26 categories whose numbers of values are those of Criteo_x4 and whose
frequencies follow Zipf's law. The CSV (about 1.4 GB at 5 million rows) is written in blocks to a temporary
folder; the build runs in a process of its own, whose peak memory (resident set) is printed beside the
bound of rows x fields x 4 bytes + 2 GB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

# Values of C1 ... C26 in Criteo_x4 before rare ones are dropped, in thousands.
CATEGORIES = [1.5, 0.6, 10_131, 2_202, 0.3, 0.02, 12.5, 0.6, 0.004, 93, 5.7, 8_351, 3.2, 0.03, 14.9, 5_461,
              0.01, 5.7, 2.2, 0.004, 7_046, 0.02, 0.016, 286, 0.1, 142]  # fmt: skip
COUNTS = [f"I{number}" for number in range(1, 14)]
NAMES = [f"C{number}" for number in range(1, 27)]
BLOCK = 250_000

BUILD = """
import json, resource, sys, tempfile, time
from pathlib import Path
from fuxictr_qnn.data import DatasetSpec, Places, build_dataset
started = time.perf_counter()
spec = DatasetSpec(**json.loads(sys.argv[1]))
places = Places(Path(sys.argv[2]), build_dir=Path(tempfile.mkdtemp(dir=sys.argv[2])))
built = build_dataset(spec, places, log=lambda message: None)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
size = sum(json.loads((built.folder / "build.json").read_text())["files"].values())
print(json.dumps({"peak": peak, "seconds": time.perf_counter() - started, "size": size}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--folder", type=Path, help="for the temporary files; default: the system's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        size = write_dataset(Path(scratch), args.rows)
        found = run_build(BUILD, Path(scratch))
    fields = len(COUNTS) + len(NAMES)
    bound = args.rows * fields * 4 + 2e9
    print(f"{args.rows:,} rows x {fields} fields, {size / 1e9:.2f} GB of CSV -> {found['size'] / 1e9:.2f} GB")
    print(f"built in {found['seconds']:.0f} s")
    print(f"peak memory {found['peak'] / 1e9:.2f} GB")
    print(f"bound       {bound / 1e9:.2f} GB: rows x fields x 4 bytes + 2 GB")
    sys.exit(found["peak"] > bound)


def write_dataset(root: Path, rows: int) -> int:
    """The files of `dataset()` below `root`; returns the size of the training file in bytes."""
    (root / "simulated").mkdir(parents=True)
    write_rows(root / "simulated" / "test.csv", max(rows // 100, 1))
    return write_rows(root / "simulated" / "train.csv", rows)


def run_build(program: str, root: Path) -> dict[str, float]:
    """What a program that builds, in a process of its own, prints as JSON."""
    command = [sys.executable, "-c", program, json.dumps(dataset()), str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def dataset() -> dict[str, Any]:
    counts = {"dtype": "float", "fill_na": 0, "preprocess": "convert_to_bucket"}
    columns = [{"name": name, **counts} for name in COUNTS] + [{"name": name} for name in NAMES]
    return {
        "dataset_id": "simulated",
        "train_data": "train.csv",
        "test_data": "test.csv",
        "min_categr_count": 10,
        "feature_cols": columns,
        "label_col": [{"name": "label"}],
    }


def write_rows(file: Path, rows: int) -> int:
    """Write the rows block by block; returns the size of the file in bytes."""
    rng = np.random.default_rng(0)
    with open(file, "wb") as target:
        for start in range(0, rows, BLOCK):
            block = simulate(rng, min(BLOCK, rows - start))
            block.write_csv(target, include_header=start == 0)
    return file.stat().st_size


def simulate(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """A block of rows; one cell in ten is empty."""
    columns = {name: pl.Series(rng.lognormal(2, 2, rows).astype(np.int64)) for name in COUNTS}
    for name, thousands in zip(NAMES, CATEGORIES, strict=True):
        size = max(int(1000 * thousands), 3)
        ranks = (size ** rng.random(rows)).astype(np.uint64)  # Zipf's law with exponent 1
        columns[name] = pl.Series((ranks * np.uint64(2_654_435_761)) % np.uint64(2**32)).cast(pl.String)
    gaps = {name: series.set(pl.Series(rng.random(rows) < 0.1), None) for name, series in columns.items()}
    return pl.DataFrame({"label": rng.integers(0, 2, rows), **gaps})


if __name__ == "__main__":
    main()
