"""Rows of ids: checked against feature map and item table, and brought into the loaders' shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.serving.encoded import IdRows
from tests.synthetic import make_batches, make_feature_map, make_item_feature_map, vector_spec


def block(columns: dict) -> Block:
    return Block(Path("rows"), 0, pl.DataFrame(columns))


def items() -> tuple[IdRows, dict]:
    """The rows of a feature map with an item table: level, item_id and item_seq."""
    feature_map = make_item_feature_map()
    (batch,) = make_batches(feature_map, 6, 1)
    return IdRows(feature_map), {name: values.tolist() for name, values in batch.items() if name != "label"}


class TestRows:
    def test_histories_and_items(self):
        rows, columns = items()
        found = rows.encode(block(columns | {"more": [1] * 6}))
        assert set(found.columns) == set(rows.names) == {"level", "item_id", "item_seq"} and found.rows == 6
        for name, values in columns.items():
            np.testing.assert_array_equal(found.columns[name], values)
            assert found.columns[name].dtype == np.int32

    def test_long_histories_keep_their_end_and_short_ones_are_padded(self):
        rows, columns = items()
        long = rows.encode(block(columns | {"item_seq": [[1, 2, 3, 4, 5, 6, 7]] * 6}))
        short = rows.encode(block(columns | {"item_seq": [[1, 2]] * 6}))
        assert long.columns["item_seq"][0].tolist() == [3, 4, 5, 6, 7]
        assert short.columns["item_seq"][0].tolist() == [0, 0, 0, 1, 2]

    def test_sequences_vectors_and_numbers(self):
        extra = {"price": {"type": "numeric"}, "vector": vector_spec(3, 16)}
        rows = IdRows(make_feature_map({"user": 5, "tags": 9}, {"tags": 2}, extra=extra))
        columns = {
            "user": [1, 4],
            "tags": [[1, 0], [8, 2]],
            "price": [0.5, 2.0],
            "vector": [[1.0, 2.0, 3.0]] * 2,
        }
        found = rows.encode(block(columns))
        assert {name: values.tolist() for name, values in found.columns.items()} == columns
        assert found.columns["price"].dtype == found.columns["vector"].dtype == np.float32

    def test_no_row(self):
        rows, columns = items()
        assert rows.encode(Block(Path("rows"), 0, pl.DataFrame(columns)[:0])).rows == 0


@pytest.mark.parametrize(
    "change, said",
    [
        ({"level": None}, "has no column 'level'"),
        ({"level": ["a"] * 6}, "column 'level' holds String, but needs ids"),
        ({"level": [1.0] * 6}, "column 'level' holds Float64, but needs ids"),
        ({"level": [[1]] * 6}, "column 'level' holds List"),
        ({"level": [1, 2, None, 1, 1, 1]}, "column 'level' has 1 cells without a value"),
        ({"level": [5] * 6}, "column 'level' holds the id 5"),
        ({"level": [-1] * 6}, "column 'level' holds the id -1"),
        ({"item_id": [12] * 6}, "column 'item_id' holds the item id 12"),
        ({"item_seq": [[1, 12]] * 6}, "column 'item_seq' holds the item id 12"),
        ({"item_seq": [[1], [1, 2]] * 3}, "column 'item_seq' has lists of different length"),
        ({"item_seq": [None, [1]] * 3}, "column 'item_seq' has lists of different length"),
        ({"item_seq": [[1, None]] * 6}, "column 'item_seq' has 6 cells without a value"),
        ({"item_seq": [1] * 6}, "column 'item_seq' holds Int64, but needs lists of ids"),
    ],
)
def test_refused(change: dict, said: str):
    rows, columns = items()
    changed = {name: values for name, values in (columns | change).items() if values is not None}
    with pytest.raises(RequestError) as caught:
        rows.encode(block(changed))
    assert said in caught.value.problems[0]


def test_numbers_must_be_finite():
    rows = IdRows(make_feature_map({"user": 5}, extra={"price": {"type": "numeric"}}))
    with pytest.raises(RequestError, match="'price' holds numbers that are not finite"):
        rows.encode(block({"user": [1], "price": [float("nan")]}))
