"""When the rows of a split happened."""

from __future__ import annotations

import numpy as np
import polars as pl

from fuxictr_qnn.data.quality.audit.sample import Sample
from fuxictr_qnn.errors import RequestError

ROWS = 100_000  # sampled, for shares; first and last are of all rows


class Times:
    """The times of a split: numbers as they are; dates and texts as seconds since 1970.

    Attributes:
        first, last: of all rows that have one; None where none has.
        is_date: whether they are seconds since 1970.
    """

    def __init__(self, column: str):
        self._column = column
        self._sample = Sample(ROWS)
        self.first: float | None = None
        self.last: float | None = None
        self.is_date = False

    def add(self, cells: pl.Series, first_row: int) -> None:
        """Look at one more block.

        Raises:
            RequestError: texts that are no ISO dates.
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
        if not self.is_date:
            return f"{moment:,.10g}"
        return str(np.datetime64(int(moment), "s")).replace("T", " ")

    def _seconds(self, cells: pl.Series) -> pl.Series:
        if cells.dtype == pl.String:
            cells = self._from_text(cells.replace("", None))
        if cells.dtype.is_temporal():
            self.is_date = True
            cells = cells.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        return cells.cast(pl.Float64)

    def _from_text(self, texts: pl.Series) -> pl.Series:
        numbers = texts.cast(pl.Float64, strict=False)
        if numbers.null_count() == texts.null_count():
            return numbers
        try:
            return texts.str.to_datetime(strict=True)
        except pl.exceptions.PolarsError as error:
            wrong = texts.filter(numbers.is_null() & texts.is_not_null())[0]
            raise RequestError(
                f"--time-col {self._column}: not all cells are numbers or dates like 2024-05-31 12:00:00; "
                f"the first that is no number is '{wrong}'"
            ) from error
