"""Download public datasets from their homes: resumed, unpacked, checked against the published MD5."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuxictr_qnn.cli.options import add_data_root
from fuxictr_qnn.errors import FuxictrError, RequestError, RunError

HELP = "download public datasets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data get`."""
    parser.add_argument("dataset_ids", nargs="+", metavar="ID", help="as `fuxictr data list` shows them")
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="a FuxiCTR config directory with datasets of its own"
    )
    add_data_root(parser)
    parser.add_argument("--force", action="store_true", help="download again and replace what is there")
    parser.add_argument("--source", type=int, metavar="N", help="only the dataset's Nth source, from 1")


def main(args: argparse.Namespace) -> int:
    """Get one dataset after another; what goes wrong with one keeps no other from coming."""
    from fuxictr_qnn.config.dataset import load_dataset
    from fuxictr_qnn.data.download.get import get_dataset

    ids = list(dict.fromkeys(args.dataset_ids))
    specs, problems = [], []
    for dataset_id in ids:
        try:
            specs.append(load_dataset(dataset_id, args.config).spec)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    failures: list[FuxictrError] = []
    for spec in specs:
        try:
            get_dataset(spec, args.data_root, _say, force=args.force, only=args.source)
        except (RequestError, RunError) as error:
            failures.append(error)
        except KeyboardInterrupt:
            print("fuxictr: interrupted; the same command goes on where it was", file=sys.stderr)
            return 130
    if failures:
        raise _together(failures)
    return 0


def _together(failures: list[FuxictrError]) -> FuxictrError:
    """One failure for several datasets; one while running (exit 1) outweighs a wrong request (exit 2)."""
    if len(failures) == 1:
        return failures[0]
    problems = [problem for error in failures for problem in getattr(error, "problems", [str(error)])]
    if all(isinstance(error, RequestError) for error in failures):
        return RequestError(problems)
    return RunError("\n".join(problems))


def _say(line: str) -> None:
    print(line, flush=True)
