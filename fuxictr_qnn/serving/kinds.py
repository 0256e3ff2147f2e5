"""Columns as the run's own data had them: 7 where it read the text "7" becomes that text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from fuxictr_qnn.data.building.preprocessing import is_list
from fuxictr_qnn.data.raw.reading import DTYPES
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.errors import RequestError

TEXT, WHOLE, NUMBERS, TRUTH, LISTS, NOTHING = (
    "text",
    "whole numbers",
    "numbers",
    "booleans",
    "lists",
    "nothing",
)

# (what a column holds, what it has to hold) -> how to come from one to the other
_CASTS = {
    (WHOLE, TEXT): lambda cell, column: cell.cast(pl.String),
    (WHOLE, NUMBERS): lambda cell, column: cell.cast(pl.Float64),
    (TRUTH, WHOLE): lambda cell, column: cell.cast(pl.Int64),
    (TRUTH, NUMBERS): lambda cell, column: cell.cast(pl.Float64),
    (LISTS, TEXT): lambda cell, column: cell.cast(pl.List(pl.String)).list.join(column.splitter),
}


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


def wanted_types(spec: DatasetSpec, types: dict[str, str]) -> dict[str, Any]:
    """The polars type that each raw column had in training, where that is known.

    CSV was read with the types that the config declares; parquet had its own, which are those that were
    encoded unless a preprocess function made these.

    Args:
        types: of the encoded columns (preprocessing.json).
    """
    if spec.data_format == "csv":
        return {column.name: DTYPES[column.dtype] for column in spec.feature_cols}
    plain = {
        column.name for column in spec.feature_cols if not column.preprocess and column.type != "sequence"
    }
    return {name: getattr(pl, kind) for name, kind in types.items() if name in plain and hasattr(pl, kind)}


def as_trained(
    frame: pl.DataFrame, columns: Iterable[ColumnSpec], wanted: dict[str, Any], place: str
) -> pl.DataFrame:
    """The frame with each column of the kind that the run was trained on.

    Args:
        columns: those that are looked at, as far as the frame has them.
        place: what messages call the table.

    Raises:
        RequestError: every column that holds something else.
    """
    changed, problems = [], []
    for column in columns:
        if column.name not in frame.columns or column.name not in wanted:
            continue
        values, target = frame[column.name], wanted[column.name]
        try:
            cast = _cast(values, column, target)
        except ValueError as error:
            problems.append(f"{place}: column '{column.name}' {error}")
            continue
        if cast is not None:
            changed.append(cast)
    if problems:
        raise RequestError(problems)
    return frame.with_columns(changed)


def _cast(values: pl.Series, column: ColumnSpec, target: Any) -> pl.Expr | pl.Series | None:
    """What replaces the column; None: it stays.

    Raises:
        ValueError: the end of a sentence.
    """
    cell, holds, needs = pl.col(values.name), kind_of(values.dtype), kind_of(target)
    if values.dtype in (pl.Categorical, pl.Enum):
        return cell.cast(pl.String)
    if holds == needs or (holds == LISTS and column.type == "embedding"):
        return None
    if holds == NOTHING:
        return cell.cast(target)
    if (holds, needs) == (NUMBERS, WHOLE):
        return _whole(values)
    if (holds, needs) not in _CASTS or (holds == LISTS and column.type != "sequence"):
        raise ValueError(f"holds {values.dtype}, but the run was trained on {needs}: convert it")
    return _CASTS[holds, needs](cell, column)


def _whole(values: pl.Series) -> pl.Series:
    """Whole numbers that pandas holds as floats because some are missing."""
    known = values.fill_nan(None)
    if not ((known == known.floor()) & (known.abs() < 2**53)).all():
        raise ValueError(f"holds {values.dtype}, but the run was trained on whole numbers: convert it")
    return known.cast(pl.Int64)
