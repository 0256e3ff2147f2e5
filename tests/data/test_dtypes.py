"""Types of polars from their text."""

from __future__ import annotations

import polars as pl
import pytest

from fuxictr_qnn.data.raw.dtypes import dtype_of


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Int8(),
        pl.UInt64(),
        pl.Float32(),
        pl.String(),
        pl.Boolean(),
        pl.Date(),
        pl.Null(),
        pl.Datetime("us"),
        pl.Datetime("ns", "UTC"),
        pl.Duration("ms"),
        pl.Decimal(10, 1),
        pl.List(pl.Int64),
        pl.List(pl.List(pl.String)),
        pl.Array(pl.Float32, (2, 3)),
        pl.Struct({"a": pl.Int64, "b": pl.List(pl.String)}),
    ],
)
def test_what_str_writes_is_read(dtype: pl.DataType):
    assert dtype_of(str(dtype)) == dtype


@pytest.mark.parametrize(
    "text",
    [
        "os.system('x')",
        "__import__('os')",
        "read_csv('x')",
        "DataFrame({})",
        "Series",
        "Int64(",
        "'Int64'",
        "7",
    ],
)
def test_nothing_else_is(text: str):
    with pytest.raises(ValueError, match="is no type of polars"):
        dtype_of(text)
