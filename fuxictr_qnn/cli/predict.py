"""Score the rows of a file by a trained run, and write the scores beside the file's own ids."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fuxictr_qnn.cli.options import check_gpu
from fuxictr_qnn.cli.tables import plain_console
from fuxictr_qnn.serving.request import open_runs
from fuxictr_qnn.serving.submission import SUBMISSIONS

if TYPE_CHECKING:
    from fuxictr_qnn.runs.saved import SavedRun
    from fuxictr_qnn.serving.predicting import Prediction

HELP = "score a file's rows by a trained run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr predict`."""
    parser.add_argument(
        "--run",
        nargs="+",
        action="extend",
        required=True,
        metavar="RUN",
        help="a run folder, or an expid: its newest complete run that kept its weights; several are averaged",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="raw rows, CSV or parquet")
    parser.add_argument(
        "--id-cols",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns of FILE to write beside the scores",
    )
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="FILE",
        help="the scores, .csv or .parquet; with --submission the folder of its files",
    )
    parser.add_argument(
        "--average",
        choices=["probability", "logit"],
        default="probability",
        help="what is averaged of several runs (default: probability)",
    )
    parser.add_argument(
        "--submission", choices=list(SUBMISSIONS), help="write the files of this challenge instead"
    )
    parser.add_argument(
        "--encoded", action="store_true", help="FILE holds ids already, as the encoded data of the run does"
    )
    parser.add_argument("--force", action="store_true", help="replace what --to names")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where expids are looked for (default: ./runs)",
    )
    parser.add_argument("--gpu", type=int, metavar="N", help="-1: the CPU (default: a GPU if there is one)")
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="the FuxiCTR checkout that the model is from")
    parser.add_argument(
        "--feature-processor",
        metavar="PACKAGE.MODULE:CLASS",
        help="the run's class of preprocess functions of your own, which is imported only if named here",
    )


def main(args: argparse.Namespace) -> int:
    """Check everything that can be checked without a model, then score."""
    check_gpu(args.gpu)
    runs, encoded = open_runs(
        args.run,
        args.out,
        args.data,
        args.to,
        id_cols=args.id_cols,
        average=args.average,
        submission=args.submission,
        encoded=args.encoded,
        force=args.force,
    )
    from fuxictr_qnn.serving.predicting import predict_file
    from fuxictr_qnn.serving.scoring import RunScorer

    scorers = [RunScorer(run, args.gpu, args.zoo, encoded, args.feature_processor) for run in runs]
    result = predict_file(
        scorers, args.data, args.to, args.id_cols, average=args.average, submission=args.submission
    )
    _show(plain_console(), runs, result)
    return 0


def _show(console: Console, runs: Sequence[SavedRun], result: Prediction) -> None:
    """What was done, in a few lines."""
    lines = [
        f"{result.rows:,} rows scored by {' and '.join(run.name for run in runs)} in {result.seconds:.1f} s "
        f"({result.rows / result.seconds:,.0f} rows per second)"
    ]
    if result.unknown:
        unknown = [f"{name} {count:,}" for name, count in result.unknown.items() if count]
        lines.append(f"unknown values: {', '.join(unknown) or 'none'}")
    if result.metrics:
        lines.append("  ".join(f"{name} {value:.6f}" for name, value in result.metrics.items()))
    lines += [f"note: {note}" for note in result.notes]
    lines += [f"wrote {file}" for file in result.files]
    for line in lines:
        console.print(line, soft_wrap=True)
