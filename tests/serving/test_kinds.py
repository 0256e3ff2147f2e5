"""Columns of every type: what means the same gets the build's ids, what does not is refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data.raw.reading import Block, RawFiles
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec, LabelSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.serving.encoding import RowEncoder
from fuxictr_qnn.serving.tables import as_frame
from tests.serving.made_clicks import build

ROWS = 60
RNG = np.random.default_rng(0)
SMALL = pl.Series(RNG.integers(0, 30, ROWS))
LARGE = pl.Series(RNG.integers(2**60, 2**60 + 400, ROWS))  # floats would make all of them one number
HUGE = pl.Series(RNG.integers(0, 9, ROWS).astype(np.uint64) + np.uint64(2**63 - 5))
TENTHS = pl.Series((RNG.integers(0, 40, ROWS) / 10).round(1))
DAYS = pl.Series([datetime.date(2024, 1, 1) + datetime.timedelta(int(day)) for day in SMALL])
FLAGS = SMALL > 12
LISTS = pl.Series([[int(a), int(b)] for a, b in RNG.integers(0, 9, (ROWS, 2))])


def encoder_of(folder: Path, values: pl.Series, **column: Any) -> tuple[RowEncoder, np.ndarray]:
    """The encoder of a build on a parquet file with this column, and the ids of the build."""
    frame = pl.DataFrame({"x": values, "label": SMALL % 2})
    for split in ("train", "valid", "test"):
        frame.write_parquet(folder / f"{split}.parquet")
    spec = DatasetSpec(
        dataset_id="types",
        data_format="parquet",
        **{f"{split}_data": f"{split}.parquet" for split in ("train", "valid", "test")},
        feature_cols=[ColumnSpec(name="x", **column)],
        label_col=[LabelSpec(name="label")],
    )
    built = build(folder, spec)
    return RowEncoder(built.folder), np.array(pl.read_parquet(built.valid)["x"].to_list())


def encode(encoder: RowEncoder, values: Any) -> tuple[np.ndarray, int]:
    rows = encoder.encode(Block(Path("rows"), 0, as_frame({"x": values})))
    return rows.columns["x"], rows.unknown.get("x", 0)


SAME = {
    "itself": (SMALL, SMALL, {"dtype": "int"}),
    "a narrower type": (SMALL, SMALL.cast(pl.UInt8), {"dtype": "int"}),
    "unsigned": (LARGE, LARGE.cast(pl.UInt64), {"dtype": "int"}),
    "signed": (LARGE.cast(pl.UInt64), LARGE, {"dtype": "int"}),
    "Python's numbers": (LARGE.cast(pl.UInt64), LARGE.to_list(), {"dtype": "int"}),
    "decimals for whole numbers": (SMALL, SMALL.cast(pl.Decimal(10, 0)), {"dtype": "int"}),
    "Python's decimals": (SMALL, [Decimal(int(value)) for value in SMALL], {"dtype": "int"}),
    "whole numbers as text": (SMALL, SMALL.cast(pl.Float64), {}),
    "64 bits for 32": (TENTHS.cast(pl.Float32), TENTHS, {"dtype": "float"}),
    "32 bits for 64": (TENTHS, TENTHS.cast(pl.Float32), {"dtype": "float"}),
    "decimals for numbers": (TENTHS, TENTHS.cast(pl.Decimal(10, 1)), {"dtype": "float"}),
    "numbers for decimals": (TENTHS.cast(pl.Decimal(10, 1)), TENTHS, {}),
    "floats as text": (TENTHS, TENTHS, {}),
    "dates": (DAYS, DAYS, {}),
    "times": (DAYS.cast(pl.Datetime("us")), DAYS.cast(pl.Datetime("ns")), {}),
    "booleans": (FLAGS, FLAGS, {}),
    "lists": (LISTS, LISTS.cast(pl.List(pl.Float64)), {"type": "sequence"}),
    "text for lists": (LISTS, ["^".join(map(str, row)) for row in LISTS], {"type": "sequence"}),
    "nothing but whole numbers": (SMALL, SMALL, {"type": "numeric", "dtype": "float"}),
    "bounds": (
        TENTHS.cast(pl.Float32),
        TENTHS,
        {"dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 5},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_values(name: str, tmp_path: Path):
    trained, given, column = SAME[name]
    encoder, wanted = encoder_of(tmp_path, trained, **column)
    found, unknown = encode(encoder, given)
    np.testing.assert_array_equal(found, wanted)
    assert unknown == 0


@pytest.mark.parametrize(
    ("values", "column"), [(DAYS, {}), (FLAGS, {}), (TENTHS, {}), (SMALL.cast(pl.Int16), {"dtype": "int"})]
)
def test_a_csv_of_what_was_parquet(values: pl.Series, column: dict, tmp_path: Path):
    encoder, wanted = encoder_of(tmp_path, values, **column)
    pl.DataFrame({"x": values}).write_csv(tmp_path / "rows.csv")
    plain = encoder.spec.model_copy(update={"data_format": "csv", "feature_cols": []})
    (block,) = RawFiles([tmp_path / "rows.csv"], plain, encoder.types).blocks(["x"])
    np.testing.assert_array_equal(encoder.encode(block).columns["x"], wanted)


def test_numbers_that_the_trained_type_cannot_hold_are_unknown(tmp_path: Path):
    encoder, _ = encoder_of(tmp_path, SMALL.cast(pl.Int8), dtype="int")
    assert encode(encoder, HUGE)[1] == ROWS


def test_fractions_where_a_numeric_feature_had_none(tmp_path: Path):
    encoder, _ = encoder_of(tmp_path, SMALL, type="numeric", dtype="float")
    assert encode(encoder, [0.5, 2.0])[0].tolist() == [0.5, 2.0]


@pytest.mark.parametrize(
    ("trained", "given", "said"),
    [
        (SMALL, [1.5], "holds Float64, but the run was trained on whole numbers"),
        (SMALL, [2**70], "at most 64 bits"),
        (SMALL, ["1"], "holds String, but the run was trained on whole numbers"),
        (DAYS, ["2024-01-01"], "holds String, but the run was trained on Date"),
        (FLAGS, [1], "holds Int64, but the run was trained on booleans"),
        (TENTHS.cast(pl.Decimal(10, 1)), [0.25], "trained on Decimal"),
        (LISTS.list.first().cast(pl.String), [[1]], "holds List(Int64), but the run was trained on text"),
    ],
)
def test_other_values(trained: pl.Series, given: list, said: str, tmp_path: Path):
    encoder, _ = encoder_of(tmp_path, trained, dtype="int" if trained is SMALL else "str")
    with pytest.raises(RequestError) as caught:
        encode(encoder, given)
    (problem,) = caught.value.problems
    assert problem.startswith("'rows': column 'x' ") and said in problem


def test_a_number_beyond_the_32_bits_of_a_model(tmp_path: Path):
    encoder, _ = encoder_of(tmp_path, TENTHS, type="numeric", dtype="float")
    with pytest.raises(RequestError, match="row 2: column 'x' is 1e\\+300, which is too large"):
        encode(encoder, [1.0, 1e300])
