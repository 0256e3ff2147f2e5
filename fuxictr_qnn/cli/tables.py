"""Results as small tables."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

SPLITS = ("valid", "test")
DECIMALS = 5
WIDTH_OF_A_PIPE = 160


def plain_console() -> Console:
    """A console for plain text; where the output is a file or pipe, lines are long rather than folded."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, markup=False, width=WIDTH_OF_A_PIPE if piped else None)


def plain_table(headings: Iterable[str]) -> Table:
    """An empty table whose cells fold rather than being cut."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def results_table(runs: Sequence[dict[str, Any]], best: dict[str, float] | None = None) -> Table:
    """A row a run, the mean ± standard deviation where an experiment has several seeds.

    Args:
        runs: the contents of each run's metrics.json.
        best: the test metrics that no model can beat, where the data knows them.
    """
    names = list(dict.fromkeys(name for run in runs for split in SPLITS for name in run.get(split, ())))
    table = plain_table(["experiment"])
    for heading in ("seed", *(f"{split} {name}" for split in SPLITS for name in names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("best epoch", "seconds"):
        table.add_column(heading, justify="right")
    for expid, group in groupby(runs, key=lambda run: run["expid"]):
        members = list(group)
        for run in members:
            scores = [_number(run.get(split, {}).get(name)) for split in SPLITS for name in names]
            seconds = sum(run["seconds"].values())
            epochs = f"{run['best_epoch']} of {run['epochs']}"
            table.add_row(expid, str(run["seed"]), *scores, epochs, f"{seconds:.0f}")
        if len(members) > 1:
            spread = [_spread(members, split, name) for split in SPLITS for name in names]
            table.add_row(expid, "mean ± sd", *spread, style="bold")
    if best:
        table.add_row("best possible", "", *["" for _ in names], *(_number(best.get(name)) for name in names))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.{DECIMALS}f}"


def _spread(members: list[dict[str, Any]], split: str, name: str) -> str:
    values = [run[split][name] for run in members if name in run.get(split, ())]
    if len(values) < 2:
        return ""
    return f"{_number(statistics.mean(values))} ± {_number(statistics.stdev(values))}"
