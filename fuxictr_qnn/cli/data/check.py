"""Compare a dataset's files, and its build, with what is published of them."""

from __future__ import annotations

import argparse
import sys

from fuxictr_qnn.cli.options import add_data_options, add_dataset_options
from fuxictr_qnn.cli.tables import plain_console, plain_table

HELP = "compare files, rows, positive rates and vocabularies with the published ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data check`."""
    add_dataset_options(parser)
    parser.add_argument("--build", action="store_true", help="build it first, to check its vocabularies")
    add_data_options(parser)


def main(args: argparse.Namespace) -> int:
    """Print one table; 0 if all that is known agrees, 1 if something differs."""
    from fuxictr_qnn.config.dataset import load_dataset
    from fuxictr_qnn.data.places import Places
    from fuxictr_qnn.data.quality.check import check_dataset

    spec, config_dir = load_dataset(args.dataset_id, args.config)
    checked = check_dataset(
        spec,
        Places(args.data_root, args.build_dir, config_dir),
        build=args.build,
        log=lambda message: print(message, file=sys.stderr, flush=True),
    )
    table = plain_table(["", args.dataset_id, "expected", "found", ""])
    for fact in checked.facts:
        verdict = {True: "ok", False: "DIFFERS", None: ""}[fact.agrees]
        table.add_row(verdict, fact.what, fact.expected, fact.found, fact.remark)
    console = plain_console()
    console.print(table)
    console.print(f"{args.dataset_id}: {checked.summary}", soft_wrap=True)
    if checked.note:
        console.print(f"known: {checked.note}", soft_wrap=True)
    return 0 if checked.as_expected else 1
