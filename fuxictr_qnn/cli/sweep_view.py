"""A sweep while it runs: a table that lives on a terminal, a line a trial elsewhere; and its tables."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fuxictr_qnn.cli.tables import DECIMALS, plain_table
from fuxictr_qnn.comparing.budget import duration

if TYPE_CHECKING:
    from fuxictr_qnn.jobs import Event
    from fuxictr_qnn.tuning.sweep import Row, Sweep, Watch

SHOWN = 12  # trials that have ended in the live table
STYLES = {"done": "", "pruned": "dim", "failed": "red", "begun": "cyan", "new": "dim"}
STATES = {"begun": "to go on", "new": "to do"}  # in other words


@contextmanager
def watching(console: Console, sweep: Sweep, workers: int) -> Iterator[Watch]:
    """What to call after every event of the sweep."""
    progress = _Progress(sweep, workers)
    if not console.is_terminal:
        console.print(_plan(sweep), soft_wrap=True)
        yield lambda sweep, row, event: _say(console, progress, row, event)
        return
    with Live(console=console, get_renderable=lambda: _live(sweep, progress), refresh_per_second=2) as live:

        def refresh(sweep: Sweep, row: Row, event: Event) -> None:
            if row.standing.state == "failed":  # the table has no room for the reason
                _say(console, progress, row, event)
            else:
                progress.note(row, event)
            live.refresh()

        yield refresh
        live.transient = True  # the final table follows; after an interruption this one stays


class _Progress:
    """How much is done, and how long the rest may take."""

    def __init__(self, sweep: Sweep, workers: int):
        self.sweep, self.workers = sweep, workers
        self.seconds: list[float] = []

    def note(self, row: Row, event: Event) -> None:
        from fuxictr_qnn.jobs import Ended

        if isinstance(event, Ended) and event.outcome.state != "failed":
            self.seconds.append(event.outcome.seconds)

    def headline(self) -> str:
        sweep, left = self.sweep, self.sweep.to_do
        said = [f"{sweep.count('done')} done"]
        said += [f"{count} {state}" for state in ("pruned", "failed") if (count := sweep.count(state))]
        said.append(f"{left} to do")
        if (best := sweep.best) is not None:
            label = best.trial.settings_label if len(sweep.winners) > 1 else best.trial.label
            said.append(f"best {sweep.best_value:.{DECIMALS}f} ({label or best.trial.digest})")
        if left and self.seconds:
            mean = sum(self.seconds) / len(self.seconds)
            said.append(f"about {duration(mean * left / min(self.workers, left))} left")
        return ", ".join(said)


def _live(sweep: Sweep, progress: _Progress) -> Group:
    """The trials under way, and the best of those that have ended."""
    rows = sweep.all_rows
    running = [row for row in rows if row.is_running]
    ended = [*sweep.done, *(row for row in rows if row.standing.state in ("pruned", "failed"))]
    table = _trials(sweep, [*running, *ended[:SHOWN]])
    hidden = max(0, len(ended) - SHOWN)
    return Group(Text(progress.headline()), table, Text(f"and {hidden} more" * bool(hidden), "dim"))


def _trials(sweep: Sweep, rows: list[Row]) -> Table:
    table = plain_table(["trial", *sweep.space.axes, "state"])
    for heading in ("epoch", f"valid {sweep.space.monitor}", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(sweep, row), style=STYLES[row.standing.state])
    return table


def _cells(sweep: Sweep, row: Row) -> list[str]:
    from fuxictr_qnn.tuning.space import value_text

    standing, metrics = row.standing, row.standing.metrics or {}
    began = row.began  # once: the row goes on while another thread draws it
    running = began is not None
    state = "running" if running else STATES.get(standing.state, standing.state)
    epoch = metrics.get("best_epoch", row.record.get("epoch", ""))
    seconds = sum(metrics["seconds"].values()) if metrics else running and time.monotonic() - began
    return [
        row.trial.digest,
        *(value_text(row.trial.values[key]) for key in sweep.space.axes),
        state,
        str(epoch),
        "" if standing.value is None else f"{standing.value:.{DECIMALS}f}",
        f"{seconds:.0f}" if seconds else "",
    ]


def _say(console: Console, progress: _Progress, row: Row, event: Event) -> None:
    """A line for each trial that ends."""
    from fuxictr_qnn.jobs import Ended

    progress.note(row, event)
    if not isinstance(event, Ended):
        return
    standing, monitor = row.standing, progress.sweep.space.monitor
    words = [row.trial.digest, row.trial.label, standing.state]
    if standing.value is not None:
        words.append(f"valid {monitor} {standing.value:.{DECIMALS}f}")
    words.append(f"{event.outcome.seconds:.1f} s" + (f": {standing.reason}" if standing.reason else ""))
    line = "  ".join(word for word in words if word)
    console.print(f"{line}\n  {progress.headline()}", soft_wrap=True)


def plan_table(sweep: Sweep) -> Group:
    """Every trial that is known and how it stands, for --dry-run."""
    return Group(_trials(sweep, sweep.all_rows), Text(_plan(sweep)))


def _plan(sweep: Sweep) -> str:
    unknown = max(0, sweep.search.count - len(sweep.rows))
    later = f", {unknown} more as the search proposes them" if unknown else ""
    count = len(sweep.all_rows)
    return f"{count} trial{'s' * (count != 1)}{later}; {sweep.to_do} to do, in {sweep.store.folder}"


def final_table(console: Console, sweep: Sweep, places: Sequence[str]) -> None:
    """The table of results, and where everything is.

    Args:
        places: options by which the next command finds what this one found.
    """
    from fuxictr_qnn.reporting.plots import has_matplotlib
    from fuxictr_qnn.reporting.report import NO_PLOTS
    from fuxictr_qnn.tuning.results import final_seeds, results

    headings, rows = results(sweep).for_people()
    table, folder = plain_table(headings), sweep.store.folder
    for row in rows:
        table.add_row(*row)
    console.print(table)
    plots = ", plots/" if (folder / "plots").is_dir() else ""
    lines = [f"wrote {folder}/results.csv, results.md{plots}"]
    if sweep.others:
        lines.append(
            f"not counted: {sweep.others} more trials there, of other values or data, or of another search "
            "and not done"
        )
    if not has_matplotlib():
        lines.append(NO_PLOTS)
    if sweep.best is not None:
        words = ["fuxictr", "run", "--config", f"{folder}/best.yaml"]
        words += ["--seed", *map(str, final_seeds(sweep)), *places]
        lines.append(f"next: {shlex.join(words)}")
    for line in lines:
        console.print(line, soft_wrap=True)
