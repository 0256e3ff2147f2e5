"""Show results of run folders anew: tables, tests, pictures, and one page for them all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as RichTable

from fuxictr_qnn.cli.options import add_data_options
from fuxictr_qnn.cli.tables import plain_console, plain_table
from fuxictr_qnn.reporting.table import FORMATS, MISSING, Table

if TYPE_CHECKING:
    from fuxictr_qnn.reporting.report import Section
    from fuxictr_qnn.reporting.slices import Sliced

HELP = "tables, tests and pictures from run folders"
# On a terminal, the ones that matter most first: what it has no room for is in the files.
SHOWN = ("test AUC", "AUC - comparator's", "is", "p", "valid AUC", "test logloss", "seeds")
NAME_WIDTH = 32  # longer names of rows fold
GAP = 3  # between columns


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
    add_format_option(parser)
    parser.add_argument(
        "--comparator",
        metavar="EXPID",
        help="the row to compare with (default: of a comparison's folder the one that it fixed, else the "
        "baseline with the best mean validation AUC)",
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="extend",
        default=[],
        metavar="EXPID",
        help="configs as they stand, such as published recipes: outside ranking and tests",
    )
    add_significance_option(parser)
    parser.add_argument(
        "--tensorboard", action="store_true", help="also the training curves as TensorBoard event files"
    )
    parser.add_argument(
        "--slices",
        nargs="+",
        action="extend",
        default=[],
        metavar="FEATURE",
        help="also predicted and observed clicks, calibration error and AUC by the values of these features, "
        "and for ids that training knew and those it did not; reads the runs' data",
    )
    add_data_options(parser)


def add_significance_option(parser: argparse.ArgumentParser) -> None:
    """--significance."""
    parser.add_argument(
        "--significance",
        action="store_true",
        help="refuse too few seeds for significance tests (exit code 2); else such rows are left untested",
    )


def add_format_option(parser: argparse.ArgumentParser) -> None:
    """--format."""
    parser.add_argument(
        "--format",
        nargs="+",
        choices=list(FORMATS),
        default=list(FORMATS),
        help="of the table (default: all)",
    )


def main(args: argparse.Namespace) -> int:
    """Print the tables in short, and write them in full."""
    from fuxictr_qnn.comparing.roles import Roles
    from fuxictr_qnn.data.places import Places
    from fuxictr_qnn.reporting.report import check_request, sections_of, slices_of_sections, write_report
    from fuxictr_qnn.runs.finding import find_runs

    console = plain_console()
    check_request(args.to, args.format, args.tensorboard)
    found = find_runs(args.folders)
    roles = Roles()
    runs, not_counted = roles.counted(found.runs)
    left_out = [*found.left_out, *not_counted]
    places = Places(args.data_root, args.build_dir)

    def log(text: str) -> None:
        console.print(text, soft_wrap=True)

    sections = sections_of(
        runs,
        comparator=args.comparator,
        significance=args.significance,
        recipes=args.recipe,
        failed=found.failed,
        role_of=roles.of,
        places=places,
        log=log,
    )
    slices = slices_of_sections(sections, args.slices, places, log) if args.slices else []
    files = write_report(
        sections,
        args.to,
        formats=args.format,
        left_out=left_out,
        tensorboard=args.tensorboard,
        slices=slices,
    )
    show(console, sections, left_out, files, [sliced for _, sliced in slices])
    return 0


def show(
    console: Console,
    sections: Sequence[Section],
    left_out: Sequence[str],
    files: Sequence[Path],
    slices: Sequence[Sliced] = (),
) -> None:
    """Print tables in short, what is not in them, and where everything is."""
    from fuxictr_qnn.reporting.plots import has_matplotlib
    from fuxictr_qnn.reporting.report import NO_PLOTS

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    for section in sections:
        line(f"\n{section.table.title}")
        console.print(_short(section.table, console.width))
        for note in section.table.notes:
            line(f"  {note}")
    for sliced in slices:
        line(f"\n{sliced.table.title}")
        console.print(_by_value(sliced.table))
        for note in sliced.table.notes:
            line(f"  {note}")
    for sentence in left_out:
        line(f"left out: {sentence}")
    if not has_matplotlib():
        line(NO_PLOTS)
    line(f"wrote {len(files)} files; see {files[-1]}")


def _by_value(table: Table) -> RichTable:
    """A sliced test split, without columns that say nothing of it."""
    short = plain_table(table.headings[:2])
    shown = [
        i for i in range(2, len(table.headings)) if any(row.cells[i].text != MISSING for row in table.rows)
    ]
    for i in shown:
        short.add_column(table.headings[i], justify="right")
    for row in table.rows:
        short.add_row(*(row.cells[i].text for i in (0, 1, *shown)))
    return short


def _short(table: Table, width: int) -> RichTable:
    """The columns that there is room for, without intervals."""
    columns = {
        _brief(heading): [_brief(row.cells[i].text) for row in table.rows]
        for i, heading in enumerate(table.headings)
        if _brief(heading) in SHOWN and any(row.cells[i].text != MISSING for row in table.rows)
    }
    names = [row.cells[0].text for row in table.rows]
    room = width - min(NAME_WIDTH, max(map(len, names))) - GAP
    kept = set()
    for heading in (heading for heading in SHOWN if heading in columns):
        wide = max(map(len, [heading, *columns[heading]])) + GAP
        if wide <= room:
            kept.add(heading)
            room -= wide
    short = plain_table(table.headings[:1])
    for heading in (heading for heading in columns if heading in kept):
        short.add_column(heading, justify="right", no_wrap=True)
    for row, name in enumerate(names):
        cells = [cells[row] for heading, cells in columns.items() if heading in kept]
        short.add_row(name, *cells, style="bold" if table.rows[row].cells[0].bold else None)
    return short


def _brief(text: str) -> str:
    return text.partition(" [")[0]
