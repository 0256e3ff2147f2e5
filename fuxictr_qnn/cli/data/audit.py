"""Look for what spoils results: equal rows, features that give the label away, unknown ids, shift."""

from __future__ import annotations

import argparse
import json
import sys

from fuxictr_qnn.cli.options import add_data_options, add_dataset_options
from fuxictr_qnn.cli.tables import plain_console, plain_table

HELP = "look for what spoils results: equal rows, label leaks, unknown ids, shift"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data audit`."""
    add_dataset_options(parser)
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        default=200_000,
        help="rows of each split where not all are looked at: shift, sizes of numbers (default: 200000)",
    )
    parser.add_argument("--time-col", metavar="C", help="the column that says when a row happened")
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="of the findings (default: table)"
    )
    add_data_options(parser)


def main(args: argparse.Namespace) -> int:
    """Print what was found; 1 if something severe is among it."""
    from fuxictr_qnn.config.dataset import load_dataset
    from fuxictr_qnn.data.places import Places
    from fuxictr_qnn.data.quality.audit import audit

    spec, config_dir = load_dataset(args.dataset_id, args.config)
    places = Places(args.data_root, args.build_dir, config_dir)
    result = audit(
        spec,
        places,
        sample=args.sample,
        time_column=args.time_col,
        log=lambda message: print(message, file=sys.stderr, flush=True),
    )
    if args.format == "json":
        print(json.dumps(result.as_dict(), indent=2))
        return 1 if result.is_severe else 0
    table = plain_table(["", "check", "found"])
    for line in result.lines:
        table.add_row(*line)
    console = plain_console()
    console.print(table)
    for line in (result.extent, result.summary):
        console.print(line, soft_wrap=True)
    return 1 if result.is_severe else 0
