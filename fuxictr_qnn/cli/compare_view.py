"""A comparison while it runs: what is under way on a terminal, a line a run everywhere; and its plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fuxictr_qnn.cli.tables import DECIMALS, plain_table
from fuxictr_qnn.comparing.budget import GUESS, duration
from fuxictr_qnn.reporting.protocol import LEAST_GAIN, LEAST_SEEDS, POWER

if TYPE_CHECKING:
    from fuxictr_qnn.comparing.planning import Plan, PlanLine
    from fuxictr_qnn.jobs import Event

SAID = {  # phase -> what its runs are
    "tune": "trials, which leave the test split unread",
    "train": "final runs, which leave the test split unread",
    "test": "scorings of the test split",
    "latency": "latencies, one at a time",
}


class _View:
    """What a comparison tells, as lines; what is under way, as a text that a terminal keeps below them."""

    def __init__(self, console: Console, workers: int):
        self.console, self.workers = console, workers
        self.phase, self.count, self.ended = "", 0, 0
        self.seconds: list[float] = []
        self.running: dict[tuple[str, str], tuple[float, str]] = {}
        self.refresh: Callable[[], None] = lambda: None

    def begin(self, phase: str, count: int) -> None:
        self.phase, self.count, self.ended, self.seconds = phase, count, 0, []
        self.running.clear()
        if count:
            self._line(f"{phase}: {count} {SAID[phase]}")

    def event(self, label: str, what: str, event: Event) -> None:
        from fuxictr_qnn.jobs import Began, Ended, Evaluated

        key = label, what
        if isinstance(event, Began):
            self.running[key] = time.monotonic(), ""
        elif isinstance(event, Evaluated):
            began = self.running.get(key, (time.monotonic(), ""))[0]
            self.running[key] = began, _position(event.record)
        elif isinstance(event, Ended):
            self.running.pop(key, None)
            self.ended += 1
            self.seconds.append(event.outcome.seconds)
            self._line(self._ended(label, what, event))

    def _ended(self, label: str, what: str, event: Event) -> str:
        outcome = event.outcome
        words = [self.phase, label, what]
        if outcome.state != "done":
            words.append(f"{outcome.state}: {outcome.reason}")
        elif self.phase == "latency":
            words.append(f"{outcome.metrics['latency_ms_per_100_rows']:.2f} ms / 100 rows")
        else:
            split = "test" if self.phase == "test" else "valid"
            auc = outcome.metrics.get(split, {}).get("AUC")
            words.append(f"{split} AUC {auc:.{DECIMALS}f}" if auc is not None else "done")
        return f"{'  '.join(word for word in words if word)}  {outcome.seconds:.1f} s  ({self._headline()})"

    def _headline(self) -> str:
        left = max(0, self.count - self.ended)
        said = f"{self.ended} of {self.count}"
        if left and self.seconds:
            mean = sum(self.seconds) / len(self.seconds)
            said += f", about {duration(mean * left / min(self.workers, left))} left"
        return said

    def under_way(self) -> Text:
        """For the foot of a terminal."""
        lines = [f"{self.phase}: {self._headline()}"] if self.running else []
        for (label, what), (began, position) in list(self.running.items()):
            lines.append(f"    {label}  {what}  {position}  {time.monotonic() - began:.0f} s")
        return Text("\n".join(lines), "cyan")

    def _line(self, text: str) -> None:
        self.refresh()  # else the foot of the terminal would be drawn as it was
        self.console.print(text, soft_wrap=True)


def _position(record: dict) -> str:
    auc = record.get("AUC")
    return f"epoch {record['epoch']}" + (f", valid AUC {auc:.{DECIMALS}f}" if auc is not None else "")


@contextmanager
def watching(console: Console, workers: int) -> Iterator[_View]:
    """Whoever looks on at a comparison."""
    view = _View(console, workers)
    if not console.is_terminal:
        yield view
        return
    live = Live(console=console, get_renderable=view.under_way, refresh_per_second=2, transient=True)
    with live:
        view.refresh = live.refresh
        yield view


def plan_table(console: Console, plan: Plan) -> None:
    """Runs, hours, scorings and what can be detected."""
    table = plain_table(["model"])
    for heading in ("trials", "seeds", "runs left", "s / epoch", "epochs", "expected", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in plan.lines:
        table.add_row(*_plan_cells(line))
    console.print(table)
    terms, guessed = plan.terms, any(not line.rate.known for line in plan.lines)
    lines = [
        *(_about_time(plan) if plan.expected else ["nothing is left to train"]),
        "s / epoch: training + evaluation, timed here one run at a time",
        *([f"~ epochs: {GUESS}"] if guessed else []),
        f"test scorings: {plan.scorings}, one for each final config and seed",
        *_about_detection(plan),
        f"data: {terms.dataset} ({terms.data_fingerprint}); nothing was trained",
    ]
    for text in lines:
        console.print(text, soft_wrap=True)


def _about_time(plan: Plan) -> Iterator[str]:
    yield (
        f"with {plan.workers} worker{'s' * (plan.workers > 1)}: about {duration(plan.expected)}, at most "
        f"{duration(plan.at_most)} (every run to its cap on epochs)"
    )


def _plan_cells(line: PlanLine) -> list[str]:
    rate = line.rate
    return [
        f"{rate.label}{line.what}",
        str(line.trials or "–"),
        str(line.seeds),
        str(line.left),
        f"{rate.train:.2f} + {rate.evaluate:.2f}",
        f"{rate.epochs:.0f} of {rate.cap}" if rate.known else f"~{rate.epochs:.0f} of {rate.cap}",
        duration(line.left * rate.expected) if line.left else "–",
        duration(line.left * rate.at_most) if line.left else "–",
    ]


def _to(values: Sequence[float]) -> str:
    return " to ".join(f"{value:.5f}" for value in values)


def _about_detection(plan: Plan) -> Iterator[str]:
    if plan.terms.seeds < LEAST_SEEDS:
        yield f"no tests: they need {LEAST_SEEDS} seeds"
        return
    if not plan.detectable:
        yield "no tests: there is one row only"
        return
    gains = "; ".join(
        f"{_to(found)} with {seeds} seeds each" for seeds, found in sorted(plan.detectable.items())
    )
    yield (
        f"smallest difference in AUC that two models show with a chance of {100 * POWER:.0f} %, Holm over "
        f"{plan.tests} test{'s' * (plan.tests > 1)}: {gains}, at a standard deviation of {_to(plan.sd)} over "
        f"seeds ({plan.sd_from})"
    )
    if max(map(max, plan.detectable.values())) > LEAST_GAIN:
        yield f"(a gain of {LEAST_GAIN:g} counts; more seeds, or --more-seeds, show smaller differences)"
