"""Columns of an item table that is id-encoded already: checked, and as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from fuxictr_qnn.data.lists import padded
from fuxictr_qnn.data.spec import ColumnSpec


class Misfit(ValueError):
    """What a column holds, or lacks, against its config: the end of a sentence."""


def some(values: Iterable) -> str:
    """The first few of the values, as a message shows them."""
    shown = [str(value) for value in values]
    return ", ".join(shown[:3]) + (" ..." if len(shown) > 3 else "")


def id_problems(ids: pl.Series) -> list[str]:
    """Why a table cannot be joined by these item ids; ends of sentences."""
    if not ids.dtype.is_integer():
        return [f"holds {ids.dtype} in column '{ids.name}': item ids are integers"]
    if not len(ids):
        return ["has no rows"]
    problems = []
    if ids.null_count():
        problems.append(f"has {ids.null_count()} rows without '{ids.name}'")
    if (ids < 0).any():
        problems.append(f"has negative item ids: {some(ids.filter(ids < 0))}")
    doubled = ids.drop_nulls().filter(ids.drop_nulls().is_duplicated()).unique().sort()
    if len(doubled):
        problems.append(
            f"has {len(doubled)} item ids in more than one row: {some(doubled)}; keep one row of each"
        )
    return problems


def encode(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    """The values as int32 ids or float32 numbers, shape (rows,) or (rows, width of the lists).

    Raises:
        Misfit: nulls, another type, ids outside the vocabulary, lists of another width.
    """
    values = _filled(values, column)
    if values.null_count():
        raise Misfit(f"has no value in {values.null_count()} rows; set its fill_na, or fill the file")
    return ENCODERS[column.type](values, column)


def _filled(values: pl.Series, column: ColumnSpec) -> pl.Series:
    """fill_na in place of missing values; where lists are missing, a list of it."""
    if column.fill_na is None or not values.null_count():
        return values
    width = {"sequence": 1, "embedding": column.vector_width}.get(column.type)
    fill = column.fill_na if width is None else [column.fill_na] * width
    try:
        filling = pl.Series([fill], dtype=values.dtype)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise Misfit(f"holds {values.dtype} and cannot take its fill_na, {column.fill_na!r}") from error
    return filling.new_from_index(0, len(values)).zip_with(values.is_null(), values)


def _ids(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    if not values.dtype.is_integer():
        raise Misfit(f"holds {values.dtype}, but type {column.type} of encoded data needs integer ids")
    if values.null_count():
        raise Misfit(f"holds {values.null_count()} nulls in its lists")
    outside = values.filter((values < 0) | (values >= column.vocab_size))
    if len(outside):
        raise Misfit(
            f"holds ids outside its vocab_size of {column.vocab_size} (0 to {column.vocab_size - 1}): "
            f"{some(outside.unique().sort())}"
        )
    return values.to_numpy().astype(np.int32)


def _numbers(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    if not values.dtype.is_numeric():
        raise Misfit(f"holds {values.dtype}, but type {column.type} needs numbers")
    numbers = values.cast(pl.Float32).to_numpy()
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise Misfit(f"holds {bad} numbers that are missing or not finite")
    return numbers


def _lists(values: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """All entries one after another, and how many each list has."""
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise Misfit(f"holds {values.dtype}, but needs lists")
    return pl.from_arrow(values.to_arrow().flatten()), values.list.len().to_numpy().astype(np.int64)


def _sequence(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    flat, lengths = _lists(values)
    return padded(_ids(flat, column), lengths, column.max_len, column.padding)


def _vectors(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    flat, lengths = _lists(values)
    width = column.vector_width
    if (lengths != width).any():
        found = some(np.unique(lengths))
        raise Misfit(f"holds lists of {found} numbers, but pretrain_dim (or embedding_dim) says {width}")
    return _numbers(flat, column).reshape(-1, width)


ENCODERS: dict[str, Callable[[pl.Series, ColumnSpec], np.ndarray]] = {
    "categorical": _ids,
    "sequence": _sequence,
    "embedding": _vectors,
    "numeric": _numbers,
}
