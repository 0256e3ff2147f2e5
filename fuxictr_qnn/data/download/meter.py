"""Progress of a download: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.sizes import size_text

SECONDS_BETWEEN_LINES = 15.0


class Meter:
    """Shows how much of a file is there; a context manager around its download."""

    def __init__(self, name: str, log: Log):
        self._name, self._log = name, log
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), transient=True, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task(name, total=None)
        self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._announced = False

    def __enter__(self) -> Meter:
        self._bar.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._bar.stop()

    def begin(self, done: int, total: int | None) -> None:
        """Say how large the file is and how much of it was there; once."""
        if not self._announced:
            had = f", {size_text(done)} of it there already" if done else ""
            self._log(f"  {self._name}: {size_text(total) if total else 'of unknown size'}{had}")
        self._announced = True

    def update(self, done: int, total: int | None) -> None:
        """`done` of `total` bytes (None: unknown) are there."""
        now = time.monotonic()
        if self._first is None or done < self._first[1]:
            self._first = now, done
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, total=total)
        elif now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = now
            self._log(self._line(now, done, total))

    def _line(self, now: float, done: int, total: int | None) -> str:
        start, had = self._first
        speed = (done - had) / max(now - start, 1e-9)
        line = f"  {self._name}: {size_text(done)}"
        if total:
            line += f" of {size_text(total)}"
        if speed:
            line += f", {size_text(int(speed))}/s"
        if speed and total:
            line += f", {(total - done) / speed / 60:.0f} min left"
        return line
