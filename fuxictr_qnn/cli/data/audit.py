"""Look for what spoils results: equal rows, features that give the label away, unknown ids, shift."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.cli.options import add_data_options
from fuxictr_qnn.cli.tables import plain_console, plain_table

if TYPE_CHECKING:
    from fuxictr_qnn.data.quality.audit import Audit

HELP = "look for what spoils results: equal rows, label leaks, unknown ids, shift"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr data audit`."""
    parser.add_argument("dataset_id", metavar="ID", help="a dataset of data_configs/ or of --config")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="DIR",
        help="a FuxiCTR config directory (default: the installed datasets)",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        default=200_000,
        help="rows of each split where not all are looked at: shift, sizes of numbers (default: 200000)",
    )
    parser.add_argument("--time-col", metavar="C", help="the column that says when a row happened")
    parser.add_argument("--format", choices=["table", "json"], default="table")
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
        print(json.dumps(_without_nan(result.as_dict()), indent=2))
    else:
        _print(result)
    return 1 if result.is_severe else 0


def _print(result: Audit) -> None:
    table = plain_table(["", "check", "found"])
    for finding in result.findings:
        if finding.severity != "ok":
            table.add_row(finding.severity, finding.check, finding.sentence)
    # What was looked for in vain takes a row a check, and splits of which the same is true stand together.
    fine: dict[str, dict[str, list[str]]] = {}
    for finding in result.findings:
        if finding.severity == "ok":
            split, colon, rest = finding.sentence.partition(": ")
            same = (split, rest) if colon and split in result.rows else ("", finding.sentence)
            fine.setdefault(finding.check, {}).setdefault(same[1], []).append(same[0])
    for check, sentences in fine.items():
        said = [", ".join(splits) + ": " + text if splits[0] else text for text, splits in sentences.items()]
        table.add_row("ok", check, "; ".join(said))
    console = plain_console()
    console.print(table)
    console.print(result.summary, soft_wrap=True)


def _without_nan(value: Any) -> Any:
    """JSON knows no nan: an AUC that is not defined becomes null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
