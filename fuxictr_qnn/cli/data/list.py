"""List the datasets: what of them is there, how large the download is, under which licence, from where."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fuxictr_qnn.cli.options import add_data_root, add_dataset_config
from fuxictr_qnn.cli.tables import plain_console, plain_table

if TYPE_CHECKING:
    from fuxictr_qnn.config import ListedDataset

HELP = "list datasets, their licences and homes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data list`."""
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="such as 'ml_*'")
    add_dataset_config(parser)
    add_data_root(parser)


def main(args: argparse.Namespace) -> int:
    """Print one table; exit 0 even where nothing matches."""
    from fuxictr_qnn.config import list_datasets

    rows = list_datasets(args.config, args.pattern)
    table = plain_table(["dataset", "data", "size", "licence", "home"])
    table.columns[-1].no_wrap = True  # an address is copied whole
    for row in rows:
        table.add_row(*_cells(row, args))
    plain_console().print(table if rows else f"nothing matches '{args.pattern}'")
    return 0


def _cells(row: ListedDataset, args: argparse.Namespace) -> list[str]:
    from fuxictr_qnn.cli.list import presence

    by_hand = "by hand" if row.origin.get("by_hand") else ""
    return [
        row.dataset_id,
        presence(row, args.data_root),
        ", ".join(filter(None, (row.size, by_hand))) or ("not stated" if row.origin else ""),
        str(row.origin.get("licence") or ""),
        str(row.origin.get("home") or ""),
    ]
