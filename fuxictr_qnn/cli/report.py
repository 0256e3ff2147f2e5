"""Show results of run folders anew: tables, tests, pictures, and one page for them all."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table as RichTable

from fuxictr_qnn.cli.options import add_data_options
from fuxictr_qnn.cli.tables import plain_console, plain_table
from fuxictr_qnn.reporting.table import FORMATS, Table

HELP = "tables, tests and pictures from run folders"
SHOWN = ("model", "seeds", "valid AUC", "test AUC", "test logloss", "AUC - comparator's", "p", "is")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr report`."""
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="run folders, or folders that hold some"
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("report"),
        metavar="FOLDER",
        help="what is written (default: ./report)",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        default=list(FORMATS),
        help="of the table (default: all)",
    )
    parser.add_argument(
        "--comparator",
        metavar="EXPID",
        help="the row to compare with (default: the baseline with the best mean validation AUC)",
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPID",
        help="at published settings, found with an unknown budget: outside ranking and tests",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="also the training curves as TensorBoard event files"
    )
    add_data_options(parser)


def main(args: argparse.Namespace) -> int:
    """Print the tables in short, and write them in full."""
    from fuxictr_qnn.data.places import Places
    from fuxictr_qnn.reporting.finding import find_runs
    from fuxictr_qnn.reporting.plots import has_matplotlib
    from fuxictr_qnn.reporting.report import NO_PLOTS, check_request, sections_of, write_report

    console = plain_console()

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    check_request(args.to, args.format, args.tensorboard)
    found = find_runs(args.folders)
    places = Places(args.data_root, args.build_dir)
    sections = sections_of(
        found.runs, comparator=args.comparator, recipes=args.recipe, places=places, log=line
    )
    files = write_report(
        sections, args.to, formats=args.format, left_out=found.left_out, tensorboard=args.tensorboard
    )
    for section in sections:
        line(f"\n{section.table.title}")
        console.print(_short(section.table))
        for note in section.table.notes:
            line(f"  {note}")
    for sentence in found.left_out:
        line(f"left out: {sentence}")
    if not has_matplotlib():
        line(NO_PLOTS)
    line(f"wrote {len(files)} files; see {files[-1]}")
    return 0


def _short(table: Table) -> RichTable:
    """The columns that a terminal has room for."""
    kept = [i for i, heading in enumerate(table.headings) if heading.partition(" [")[0] in SHOWN]
    short = plain_table([table.headings[i] for i in kept])
    for row in table.rows:
        short.add_row(*(row.cells[i].text for i in kept), style="bold" if row.cells[0].bold else None)
    return short
