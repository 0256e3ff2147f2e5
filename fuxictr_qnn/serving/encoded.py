"""Rows that hold ids already, for runs that were trained on such rows and know no raw values."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from fuxictr_qnn.data.loaders.storage import Field, empty_matrices, fill
from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.serving.encoding import Encoded
from fuxictr_qnn.serving.fields import columns_of, fields_of
from fuxictr_qnn.serving.kinds import LISTS, NUMBERS, WHOLE, kind_of


class IdRows:
    """Checks rows of ids and brings them into the shape that a model reads.

    Args:
        feature_map: FuxiCTR's FeatureMap of the run, with its item table where it has one.

    Attributes:
        names: the features that rows hold, by which their columns are called: `columns`.
        types: empty, since files of ids say themselves what they hold.
    """

    def __init__(self, feature_map: Any):
        self._fields = fields_of(feature_map)
        items = getattr(feature_map, "item_table", {}).get(getattr(feature_map, "item_key", None))
        self._items = None if items is None else len(items)
        self._item_columns = {getattr(feature_map, name, None) for name in ("item_key", "item_history")}
        self.names = self.columns = [field.name for field in self._fields]
        self.types: dict[str, Any] = {}

    def inputs(self, schema: pl.Schema, place: str) -> list[str]:
        """The features' columns; RequestError for every one that is missing or holds no ids or numbers."""
        problems = []
        for field in self._fields:
            if field.name not in schema:
                problems.append(f"{place} has no column '{field.name}'.{nearest(field.name, schema)}")
            elif not _fits(field, schema[field.name]):
                needs = ("lists of " if field.is_list else "") + _content(field)
                problems.append(
                    f"{place}: column '{field.name}' holds {schema[field.name]}, but needs {needs}"
                )
        if problems:
            raise RequestError(problems)
        return self.names

    def encode(self, block: Block) -> Encoded:
        """The rows of a block; RequestError for ids out of range, nulls and lists of different length."""
        self.inputs(block.frame.schema, f"'{block.file}'")
        rows = block.frame.height
        if not rows:
            return Encoded(0, {}, {})
        arrays = {field.name: self._values(field, block) for field in self._fields}
        matrices = empty_matrices(rows, self._fields)
        fill(matrices, 0, rows, arrays, self._fields, block.file)
        return Encoded(rows, columns_of(matrices, self._fields), {})

    def _values(self, field: Field, block: Block) -> np.ndarray:
        """The column's values, of lists one after another."""
        values, place = block.frame[field.name], f"'{block.file}': column '{field.name}'"
        if field.is_list:
            values = values.cast(pl.List(values.dtype.inner))
            lengths = values.list.len()
            if values.null_count() or lengths.n_unique() > 1:
                raise RequestError(
                    f"{place} has lists of different length, or rows without one: pad them with 0"
                )
            values = values.explode(empty_as_null=False)
        if values.null_count():
            raise RequestError(f"{place} has {values.null_count()} cells without a value: fill them")
        numbers = values.to_numpy()
        if field.matrix == "numbers" and not np.isfinite(numbers).all():
            raise RequestError(f"{place} holds numbers that are not finite: correct them")
        if self._items and field.name in self._item_columns and len(numbers):
            low, high = numbers.min(), numbers.max()
            if low < 0 or high >= self._items:
                outside = low if low < 0 else high
                raise RequestError(
                    f"{place} holds the item id {outside}, but the item table ends at {self._items - 1}"
                )
        return numbers


def _content(field: Field) -> str:
    return "numbers" if field.matrix == "numbers" else "ids (whole numbers)"


def _fits(field: Field, dtype: Any) -> bool:
    if (kind_of(dtype) == LISTS) != field.is_list:
        return False
    kind = kind_of(dtype.inner if field.is_list else dtype)
    return kind == WHOLE or (kind == NUMBERS and field.matrix == "numbers")
