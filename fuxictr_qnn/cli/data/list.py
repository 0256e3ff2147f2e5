"""List the datasets: what of them is there, how large the download is, under which licence, from where."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.cli.options import add_data_root
from fuxictr_qnn.cli.tables import plain_console, plain_table

if TYPE_CHECKING:
    from fuxictr_qnn.config import ListedDataset

HELP = "list datasets, their licences and homes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data list`."""
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="such as 'ml_*'")
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="a FuxiCTR config directory with datasets of its own"
    )
    add_data_root(parser)


def main(args: argparse.Namespace) -> int:
    """Print one table; exit 0 even where nothing matches."""
    from fuxictr_qnn.config import list_datasets

    rows = list_datasets(args.config, args.pattern)
    table = plain_table(["dataset", "data", "download", "licence", "home"])
    table.columns[-1].no_wrap = True  # an address is copied whole
    for row in rows:
        table.add_row(*_cells(row, args))
    plain_console().print(table if rows else f"nothing matches '{args.pattern}'")
    return 0


def _cells(row: ListedDataset, args: argparse.Namespace) -> list[str]:
    from fuxictr_qnn.cli.list import presence

    origin = row.values.get("origin")
    origin = origin if isinstance(origin, dict) else {}
    return [
        row.dataset_id,
        presence(row, args.data_root),
        _download(origin),
        str(origin.get("licence") or ""),
        str(origin.get("home") or ""),
    ]


def _download(origin: dict[str, Any]) -> str:
    from fuxictr_qnn.data.download.sizes import size_text

    if not origin.get("sources"):
        return "by hand" if origin.get("by_hand") else ""
    size = origin.get("download")
    return size_text(size) if isinstance(size, int) else "size not stated"
