"""List the models, experiments or datasets that a run can name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fuxictr_qnn.cli.options import add_config_option, add_data_root
from fuxictr_qnn.cli.tables import plain_console, plain_table
from fuxictr_qnn.paths import shipped

if TYPE_CHECKING:
    from fuxictr_qnn.config import ListedDataset

HELP = "list models, experiments (expids) or datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr list`."""
    parser.add_argument("what", choices=list(LISTS), help="what to list")
    parser.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="such as '*_frappe'")
    add_config_option(parser)
    add_data_root(parser)


def main(args: argparse.Namespace) -> int:
    """Print one table; exit 0 even where nothing matches."""
    headings, rows = LISTS[args.what](args)
    table = plain_table(headings)
    for row in rows:
        table.add_row(*row)
    plain_console().print(table if rows else f"nothing matches '{args.pattern}'")
    return 0


def _models(args: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    from fuxictr_qnn.models.registry import list_models

    return ["model"], [[name] for name in list_models(args.pattern)]


def _expids(args: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    from fuxictr_qnn.config import list_expids

    rows = list_expids(args.config, args.pattern)
    return ["expid", "model", "dataset", "file"], [
        [row.expid, row.model, row.dataset_id, _shown_path(row.file)] for row in rows
    ]


def _datasets(args: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    from fuxictr_qnn.config import list_datasets

    rows = list_datasets(args.config, args.pattern)
    return ["dataset", "data", "file"], [
        [row.dataset_id, presence(row, args.data_root), _shown_path(row.file)] for row in rows
    ]


def presence(row: ListedDataset, data_root: Path) -> str:
    """Whether the files that a dataset names are under the data root or where its paths point."""
    from fuxictr_qnn.data import Places

    if row.values.get("generator"):
        return "simulated on first use"
    places = Places(data_root, config_dir=row.file.parent)
    keys = ("train_data", "valid_data", "test_data", "item_info", "item_features")
    paths = [row.values[key] for key in keys if row.values.get(key)]
    found = [path for path in paths if places.find(str(path), row.dataset_id)]
    return "there" if paths and found == paths else f"{len(paths) - len(found)} of {len(paths)} files missing"


def _shown_path(file: Path) -> str:
    """A path, short where it is part of this installation."""
    root = shipped("model_zoo").parent
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


LISTS = {"models": _models, "expids": _expids, "datasets": _datasets}
