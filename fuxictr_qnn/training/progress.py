"""Progress of a fit: a bar with an ETA on a terminal, a line an evaluation everywhere."""

from __future__ import annotations

import logging
import sys
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fuxictr_qnn.training.fit import Position
from fuxictr_qnn.training.history import NOT_METRICS


def evaluation_line(record: dict[str, Any], epochs: int) -> str:
    """One evaluation in a line: epoch, loss, metrics, learning rate, what followed."""
    metrics = "  ".join(f"{name} {value:.6f}" for name, value in record.items() if name not in NOT_METRICS)
    note = "best" if record["best"] else "learning rate cut" if record["lr_cut"] else ""
    return (
        f"epoch {record['epoch']}/{epochs}  step {record['step']}  train loss {record['train_loss']:.6f}  "
        f"{metrics}  lr {record['learning_rate']:g}  {record['seconds']:.1f} s  {note}".rstrip()
    )


class FitProgress:
    """Shows the epoch under way; a context manager around the fit.

    Args:
        bar: False shows none: several workers write to one terminal.
    """

    def __init__(self, epochs: int, logger: logging.Logger, bar: bool = True):
        self.epochs, self.logger = epochs, logger
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, transient=True, disable=not (bar and sys.stdout.isatty()))
        self._task = self._bar.add_task("epoch 1", total=None)

    def __enter__(self) -> FitProgress:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def step(self, position: Position, steps_per_epoch: int) -> None:
        if not self._bar.disable:
            description = f"epoch {position.epoch + 1} of at most {self.epochs}"
            self._bar.update(
                self._task, description=description, completed=position.batch, total=steps_per_epoch
            )

    def evaluation(self, record: dict[str, Any]) -> None:
        self.logger.info(evaluation_line(record, self.epochs))
