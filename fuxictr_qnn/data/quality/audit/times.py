"""When the rows of a split happened."""

from __future__ import annotations

import numpy as np
import polars as pl

from fuxictr_qnn.data.quality.audit.sample import Sample
from fuxictr_qnn.data.raw import times
from fuxictr_qnn.errors import RequestError, shown

ROWS = 100_000  # sampled, for shares; first and last are of all rows


class Times:
    """The times of a split: numbers as they are; dates and texts as seconds since 1970.

    Attributes:
        first, last: of all rows that have one; None where none has.
    """

    def __init__(self, column: str):
        self._column = column
        self._sample = Sample(ROWS)
        self.first: float | None = None
        self.last: float | None = None
        self._times = times.Times()

    def add(self, cells: pl.Series, first_row: int) -> None:
        """Look at one more block.

        Raises:
            RequestError: texts that are neither all numbers nor all ISO dates.
        """
        values = self._seconds(cells).to_numpy()
        self._sample.add(first_row, {"time": values})
        known = values[~np.isnan(values)]
        if len(known):
            first, last = float(known.min()), float(known.max())
            self.first = first if self.first is None else min(first, self.first)
            self.last = last if self.last is None else max(last, self.last)

    def share_after(self, moment: float) -> float:
        """About which part of the rows happened later."""
        if not self._sample.columns:
            self._sample.close()
        return float((self._sample.columns["time"] > moment).mean())

    def text(self, moment: float) -> str:
        """A time as a reader knows it."""
        if not self._times.are_dates:
            return f"{moment:,.10g}"
        return str(np.datetime64(int(moment), "s")).replace("T", " ")

    def _seconds(self, cells: pl.Series) -> pl.Series:
        values = self._times.read(cells)
        lost = values.is_null() & cells.is_not_null()
        if cells.dtype == pl.String and (lost & (cells != "")).any():
            wrong = cells.filter(lost & (cells != ""))[0]
            raise RequestError(f"--time-col {self._column}: {shown(wrong)} is no time: {times.REMEDY}")
        return (values / 1e6 if self._times.are_dates else values).cast(pl.Float64)
