"""Make a benchmark's files from the raw files of its publisher."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fuxictr_qnn.cli.options import add_data_root

HELP = "make a benchmark's files from a raw copy of its data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data prepare`."""
    parser.add_argument("dataset_id", metavar="ID", help="as `fuxictr data list` shows it")
    parser.add_argument(
        "--raw",
        type=Path,
        metavar="DIR",
        help="the folder with the publisher's files (default: the folder raw beside the files to make)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="a FuxiCTR config directory with datasets of its own"
    )
    add_data_root(parser)
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def main(args: argparse.Namespace) -> int:
    """Print a line for each file that was made (rows, share of positives), the time, and the next command."""
    from fuxictr_qnn.config.dataset import load_dataset
    from fuxictr_qnn.data.download.plan import home_of
    from fuxictr_qnn.data.recipes import prepare, recipe_of

    spec = load_dataset(args.dataset_id, args.config).spec
    recipe = recipe_of(spec)
    folder = args.data_root / home_of(spec)
    started = time.perf_counter()
    prepare(recipe, args.raw or folder / "raw", folder, _say, args.force)
    _say(f"{args.dataset_id} is ready after {time.perf_counter() - started:.1f} s")
    options = f" --data-root {args.data_root}" if args.data_root != Path("data") else ""
    _say(f"next: fuxictr data check {args.dataset_id}{options}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
