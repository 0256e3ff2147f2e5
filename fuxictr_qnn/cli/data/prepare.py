"""Make a benchmark's files from the raw files of its publisher."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from fuxictr_qnn.cli.options import add_data_root, add_dataset_options, as_typed

HELP = "make a benchmark's files from a raw copy of its data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data prepare`."""
    add_dataset_options(parser)
    parser.add_argument(
        "--raw",
        type=Path,
        metavar="DIR",
        help="the folder with the publisher's files (default: the folder raw beside the files to make)",
    )
    add_data_root(parser)
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def main(args: argparse.Namespace) -> int:
    """Print a line for each file that was made (rows, share of positives), the time, and the next command."""
    from fuxictr_qnn.config.dataset import load_dataset
    from fuxictr_qnn.data.recipes import prepare_dataset

    spec = load_dataset(args.dataset_id, args.config).spec
    started = time.perf_counter()
    prepare_dataset(spec, args.data_root, args.raw, _say, args.force)
    _say(f"{args.dataset_id} is ready after {time.perf_counter() - started:.1f} s")
    _say(f"next: {as_typed(args, 'data', 'check', args.dataset_id)}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
