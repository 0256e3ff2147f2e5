"""Download public datasets from their homes: resumed, unpacked, checked against the published MD5."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fuxictr_qnn.cli.options import add_data_root, add_dataset_options, as_typed
from fuxictr_qnn.errors import do_all

if TYPE_CHECKING:
    from fuxictr_qnn.data import DatasetSpec

HELP = "download public datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data get`."""
    add_dataset_options(parser, several=True)
    add_data_root(parser)
    parser.add_argument("--force", action="store_true", help="download again and replace what is there")
    parser.add_argument("--source", type=int, metavar="N", help="only the dataset's Nth source, from 1")


def main(args: argparse.Namespace) -> int:
    """Get one dataset after another, and say what can be done with each."""
    from fuxictr_qnn.config.dataset import load_datasets

    specs = load_datasets(args.dataset_ids, args.config)
    do_all(lambda spec=spec: _get(spec, args) for spec in specs)
    return 0


def _get(spec: DatasetSpec, args: argparse.Namespace) -> None:
    from fuxictr_qnn.config.catalog import expid_for
    from fuxictr_qnn.data.download.get import get_dataset

    get_dataset(spec, args.data_root, _say, force=args.force, only=args.source)
    expid = expid_for(spec.dataset_id, args.config)
    words = ("run", "--expid", expid) if expid else ("data", "audit", spec.dataset_id)
    _say(f"next: {as_typed(args, *words)}")


def _say(line: str) -> None:
    print(line, flush=True)
