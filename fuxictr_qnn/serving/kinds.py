"""Columns as the run's own data had them: 7 where it read the text "7" becomes that text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from fuxictr_qnn.data.building.preprocessing import is_list
from fuxictr_qnn.data.raw.reading import DTYPES
from fuxictr_qnn.data.spec import ColumnSpec
from fuxictr_qnn.errors import RequestError

TEXT, WHOLE, NUMBERS, TRUTH, LISTS, NOTHING = (
    "text",
    "whole numbers",
    "numbers",
    "booleans",
    "lists",
    "nothing",
)
_BEYOND_64_BITS = (pl.Int128, pl.UInt128)


def kind_of(dtype: Any) -> str:
    """What cells of a polars type are."""
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return TEXT
    if dtype.is_integer():
        return WHOLE
    if dtype.is_numeric():
        return NUMBERS
    if is_list(dtype):
        return LISTS
    return {pl.Boolean: TRUTH, pl.Null: NOTHING}.get(dtype, str(dtype))


def as_in_csv(dtype: Any) -> Any:
    """What a CSV column is read as, whose values a run knows by this type: lists stand in text."""
    return DTYPES["str"] if kind_of(dtype) == LISTS else dtype


def as_trained(
    frame: pl.DataFrame, wanted: Mapping[str, Any], columns: Mapping[str, ColumnSpec], place: str
) -> pl.DataFrame:
    """The columns of `wanted`, holding what the columns of that type held in training.

    Args:
        frame: has all of them.
        wanted: column -> its polars type in the run's own data.
        columns: the features among them; the others are only read by preprocess functions.
        place: what messages call the table.

    Raises:
        RequestError: every column that holds something else.
    """
    made, problems = [], []
    for name, target in wanted.items():
        try:
            made.append(_cast(frame[name], target, columns.get(name)))
        except ValueError as error:
            problems.append(f"{place}: column '{name}' {error}")
    if problems:
        raise RequestError(problems)
    return pl.DataFrame(made)


def _cast(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    """The column as the run's data would have it.

    Raises:
        ValueError: the end of a sentence.
    """
    holds, needs = kind_of(values.dtype), kind_of(target)
    if values.dtype in _BEYOND_64_BITS:
        raise ValueError(f"holds {values.dtype}, but whole numbers have at most 64 bits")
    if holds == NOTHING or (holds != needs and values.dtype.base_type() == target.base_type()):
        return values.cast(target)  # the second: times of another unit
    change = _CHANGES.get((holds, needs))
    if change is None and holds != needs:
        raise _other(values, needs)
    try:
        return change(values, target, column) if change else values
    except pl.exceptions.PolarsError:
        raise _other(values, needs) from None


def _other(values: pl.Series, needs: str) -> ValueError:
    return ValueError(f"holds {values.dtype}, but the run was trained on {needs}: convert it")


def _as_text(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    return values.cast(pl.String)


def _as_floats(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    return values.cast(target)


def _numbers(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    """Tokens are compared exactly: 0.1 as a decimal or in 32 bits has to become the 0.1 of 64 bits."""
    if values.dtype == target:
        return values
    is_token = column is None or column.type != "numeric"
    if values.dtype.is_decimal() or (is_token and values.dtype == pl.Float32 and target == pl.Float64):
        return values.cast(pl.String).cast(target, strict=False)
    known = values.fill_nan(None)
    made = known.cast(target)
    if target.is_decimal() and not (made.cast(pl.Float64) == known.cast(pl.Float64)).all():
        raise _other(values, str(target))
    return made


def _whole(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    """Whole numbers that pandas holds as floats because some are missing."""
    known = values.cast(pl.Float64).fill_nan(None)
    if column is not None and column.type == "numeric":
        return known
    if not ((known == known.floor()) & (known.abs() < 2**53)).all():
        raise _other(values, WHOLE)
    return known.cast(pl.Int64)


def _joined(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    if column is None or column.type not in ("sequence", "embedding"):
        raise _other(values, TEXT)
    return values.cast(pl.List(pl.String)).list.join(column.splitter)


def _split(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    if column is None or column.type not in ("sequence", "embedding"):
        raise _other(values, LISTS)
    lists = values.cast(pl.String).str.split(column.splitter)
    return lists.cast(pl.List(pl.Float64), strict=False) if column.type == "embedding" else lists


def _lists(values: pl.Series, target: Any, column: ColumnSpec | None) -> pl.Series:
    """Tokens are compared by their text, in which 7 and 7.0 differ."""
    inner = {kind_of(dtype.inner) for dtype in (values.dtype, target)}
    return values.cast(pl.List(target.inner)) if inner == {WHOLE, NUMBERS} else values


# (what a column holds, what it has to hold) -> how to come from one to the other
_CHANGES: dict[tuple[str, str], Callable[[pl.Series, Any, ColumnSpec | None], pl.Series]] = {
    (TEXT, TEXT): _as_text,
    (WHOLE, TEXT): _as_text,
    (WHOLE, NUMBERS): _as_floats,
    (TRUTH, WHOLE): _as_floats,
    (TRUTH, NUMBERS): _as_floats,
    (NUMBERS, NUMBERS): _numbers,
    (NUMBERS, WHOLE): _whole,
    (LISTS, TEXT): _joined,
    (TEXT, LISTS): _split,
    (LISTS, LISTS): _lists,
}
