"""Times as numbers that order rows: numbers as they are, dates as microseconds since 1970 (UTC)."""

from __future__ import annotations

import polars as pl

PATTERN = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?Z?$"
REMEDY = "write numbers, or dates as 2026-01-31 or 2026-01-31 17:05:00, in all rows the same"


class Times:
    """The times of one column, block by block.

    Text is either numbers or ISO dates: the first cell that is not empty decides, for all blocks.

    Attributes:
        are_dates: whether they are dates; None before the first time was seen.
    """

    def __init__(self) -> None:
        self.are_dates: bool | None = None

    def read(self, cells: pl.Series) -> pl.Series:
        """The same number of numbers; null where a cell is empty or of the other kind."""
        if cells.dtype == pl.String:
            return self._from_text(cells.replace("", None))
        if cells.dtype == pl.Date:
            cells = cells.cast(pl.Datetime("us"))
        if isinstance(cells.dtype, pl.Datetime):
            self.are_dates = True
            return cells.dt.cast_time_unit("us").to_physical()
        return cells

    def _from_text(self, texts: pl.Series) -> pl.Series:
        first = texts.drop_nulls().head(1)
        if self.are_dates is None and len(first):
            self.are_dates = _numbers(first).has_nulls()
        return _dates(texts) if self.are_dates else _numbers(texts)


def _numbers(texts: pl.Series) -> pl.Series:
    """Whole numbers where all are."""
    whole = texts.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == texts.null_count() else texts.cast(pl.Float64, strict=False)


def _dates(texts: pl.Series) -> pl.Series:
    plain = texts.str.strip_suffix("Z").str.replace("T", " ", literal=True)
    fill = {10: " 00:00:00", 16: ":00"}
    whole = plain + plain.str.len_chars().replace_strict(fill, default="", return_dtype=pl.String)
    dates = whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).to_physical()
    return dates.set(~texts.str.contains(PATTERN).fill_null(False), None)
