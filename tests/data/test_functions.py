"""Named preprocess functions against plain Python, cell by cell."""

from __future__ import annotations

import datetime
import importlib.util
import math
import runpy
import sys
import types
from pathlib import Path

import polars as pl
import pytest
from data_support import config_of, make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.data.building.functions import FUNCTIONS
from fuxictr_qnn.data.building.preprocessing import Preprocessing

EXAMPLES = settings(max_examples=30, deadline=None)


def results(function: str, values: list, dtype: pl.DataType, column: str = "x") -> list:
    return (
        pl.DataFrame({column: pl.Series(values, dtype=dtype)}).select(FUNCTIONS[function](column)).to_series()
    )


def bucket(x: float) -> int:
    return math.floor(math.log(x) ** 2) if x > 2 else int(x)


def band(age: float | None) -> str:
    if age is None or math.isnan(age) or not 1 <= age <= 95:
        return ""
    return next((str(at + 1) for at, last in enumerate((10, 20, 30, 40, 50, 60)) if age <= last), "7")


class TestBucket:
    def test_known_values(self):
        # 2 stays, 3 is floor(1.207); the published vocabulary of I5 needs buckets beyond log2's 27
        values = [-2.0, -1.5, 0.0, 1.0, 2.0, 3.0, 10.0, 100.0, 1e6]
        assert results("convert_to_bucket", values, pl.Float64).to_list() == [-2, -1, 0, 1, 2, 1, 5, 21, 190]

    @EXAMPLES
    @given(st.lists(st.none() | st.integers(-1000, 10**9), min_size=1))
    def test_every_count(self, counts):
        found = results("convert_to_bucket", counts, pl.Float64)
        assert found.to_list() == [None if count is None else bucket(count) for count in counts]
        assert found.dtype == pl.Int32


class TestAge:
    @EXAMPLES
    @given(
        st.lists(st.none() | st.integers(-100, 2000) | st.floats(-10, 110) | st.just(math.nan), min_size=1)
    )
    def test_every_age(self, ages):
        assert results("bucketize_age", ages, pl.Float64).to_list() == [band(age) for age in ages]

    @EXAMPLES
    @given(st.integers(-100, 2000))
    def test_text_and_integers(self, age):
        assert results("bucketize_age", [str(age)], pl.String).to_list() == [band(age)]
        assert results("bucketize_age", [age], pl.Int64).to_list() == [band(age)]

    def test_what_is_no_age(self):
        assert results("bucketize_age", ["", "n/a", None, "1e400", "nan"], pl.String).to_list() == [""] * 5


class TestCountry:
    @EXAMPLES
    @given(st.lists(st.none() | st.text(max_size=5), min_size=1))
    def test_first_two_letters(self, codes):
        found = results("extract_country_code", codes, pl.String).to_list()
        assert found == [(code or "")[:2] for code in codes]


class TestAvazuTime:
    TIMES = st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2068, 12, 31))

    @EXAMPLES
    @given(st.lists(st.none() | TIMES, min_size=1))
    def test_every_time(self, times):
        texts = [time and time.strftime("%y%m%d%H") for time in times]
        expected = {
            "convert_hour": [time and time.hour for time in times],
            "convert_weekday": [time and time.isoweekday() % 7 for time in times],
            "convert_weekend": [time and int(time.isoweekday() >= 6) for time in times],
        }
        for name, values in expected.items():
            assert results(name, texts, pl.String, "hour").to_list() == values

    def test_numbers_and_nonsense(self):
        assert results("convert_weekday", [14102100], pl.Int64, "hour").to_list() == [2]  # a Tuesday
        for name in ("convert_hour", "convert_weekday", "convert_weekend"):
            assert results(name, ["", "x", "14133x"], pl.String, "hour").to_list() == [None] * 3

    def test_the_shipped_config_makes_three_features_of_one_column(self):
        spec = make_spec("avazu_x4", config_of("avazu_x4"))
        names = [column.name for column in spec.active_columns]
        raw = pl.DataFrame(
            {name: ["14102523", "14102101"] for name in {*names, "id"} - {"weekday", "weekend"}}
        )
        raw = raw.with_columns(click=pl.Series([0.0, 1.0]))
        found = Preprocessing(spec, raw.schema).apply(raw)
        assert found.select(pl.col("hour", "weekday", "weekend").cast(pl.Int32)).rows() == [
            (23, 6, 1),
            (1, 2, 0),
        ]


CLEAN = {
    "criteo": {"convert_to_bucket": ("x", pl.Series([-3.0, 0, 1, 2, 3, 77, 12345.5]))},
    "avazu": {
        name: ("hour", pl.Series(["14102100", "14102523", "14102611", "14103007"]))
        for name in ("convert_hour", "convert_weekday", "convert_weekend")
    },
    "kkbox": {
        "extract_country_code": ("x", pl.Series(["TWA530887303", "", None, "q"])),
        "bucketize_age": ("x", pl.Series([-1.0, 0, 0.5, 1, 10, 11, 20, 35, 60, 60.5, 61, 95, 96, None])),
    },
}


@pytest.mark.parametrize("module", CLEAN)
def test_names_and_results_are_those_of_fuxictr(module, monkeypatch):
    """Its processors are read without FuxiCTR around them, which takes seconds to import."""
    folder = Path(importlib.util.find_spec("fuxictr").submodule_search_locations[0]) / "datasets"
    for name in ("fuxictr", "fuxictr.preprocess"):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(FeatureProcessor=object))
    theirs = runpy.run_path(str(folder / f"{module}.py"))["CustomizedFeatureProcessor"]
    assert {name for name in vars(theirs) if not name.startswith("_")} == set(CLEAN[module])
    for name, (column, values) in CLEAN[module].items():
        frame = pl.DataFrame({column: values})
        expected = frame.select(getattr(theirs(), name)(column).alias("y"))
        assert frame.select(FUNCTIONS[name](column).alias("y")).equals(expected), name
        assert frame.select(FUNCTIONS[name](column).alias("y")).schema == expected.schema


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from(["14102523", "7", "", None]), min_size=2, max_size=6))
def test_each_row_by_itself(name, cells):
    """A build applies a function to one block of rows after another."""
    frame = pl.DataFrame({"hour": pl.Series(cells, dtype=pl.String)})
    if name == "convert_to_bucket":
        frame = frame.cast(pl.Float64, strict=False)
    whole = frame.select(FUNCTIONS[name]("hour"))
    parts = [row.select(FUNCTIONS[name]("hour")) for row in frame.iter_slices(1)]
    assert whole.equals(pl.concat(parts))
