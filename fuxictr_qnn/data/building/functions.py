"""The named functions that a column's `preprocess` may call, under the names of FuxiCTR's own processors.

Each takes the name of a column (or the text in its parentheses) and returns a polars expression that
looks at its own row only. A missing or senseless cell stays missing, or becomes "" where the result is text.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

AVAZU_TIME = "hour"  # Avazu's column with YYMMDDHH; three features are made from it
YOUNGEST, OLDEST = 1, 95  # KKBox's ages outside of them are typing errors
AGES = (10, 20, 30, 40, 50, 60)  # the last age of each of its bands but the last


def copy_from(column: str) -> pl.Expr:
    """Another column, as it is."""
    return pl.col(column)


def convert_to_bucket(column: str) -> pl.Expr:
    """Criteo's counts in buckets: floor(ln(x)^2) above 2, else x cut to an integer."""
    x = pl.col(column)
    return pl.when(x > 2).then((x.log() ** 2).floor()).otherwise(x).cast(pl.Int32)


def convert_hour(column: str) -> pl.Expr:
    """Avazu's hour of the day, 0 to 23, from YYMMDDHH in column `hour`, whatever column it is for."""
    hour = pl.col(AVAZU_TIME).cast(pl.String).str.slice(6, 2)
    return hour.cast(pl.Int32, strict=False)


def convert_weekday(column: str) -> pl.Expr:
    """Avazu's day of the week from YYMMDDHH in column `hour`: Sunday 0, Monday 1 ... Saturday 6."""
    return (_iso_weekday() % 7).cast(pl.Int32)


def convert_weekend(column: str) -> pl.Expr:
    """1 on Saturdays and Sundays, else 0, from YYMMDDHH in column `hour`."""
    return (_iso_weekday() >= 6).cast(pl.Int32)


def _iso_weekday() -> pl.Expr:
    """Monday 1 ... Sunday 7."""
    day = pl.col(AVAZU_TIME).cast(pl.String).str.slice(0, 6)
    return day.str.to_date("%y%m%d", strict=False).dt.weekday()


def extract_country_code(column: str) -> pl.Expr:
    """KKBox's country of a recording: the first two letters of its ISRC, "" where there is none."""
    return pl.col(column).cast(pl.String).str.slice(0, 2).fill_null("")


def bucketize_age(column: str) -> pl.Expr:
    """KKBox's ages in bands, as text: "1" up to 10 years, "2" up to 20 ... "6" up to 60, then "7".

    "" where the age is missing, no number, below 1 or above 95.
    """
    age = pl.col(column).cast(pl.Float64, strict=False)
    band = 1 + pl.sum_horizontal(*((age > last).cast(pl.Int32) for last in AGES))
    known = age.is_between(YOUNGEST, OLDEST)  # null for a missing age, false for NaN
    return pl.when(known).then(band.cast(pl.String)).otherwise(pl.lit(""))


FUNCTIONS: dict[str, Callable[[str], pl.Expr]] = {
    function.__name__: function
    for function in (
        copy_from,
        convert_to_bucket,
        convert_hour,
        convert_weekday,
        convert_weekend,
        extract_country_code,
        bucketize_age,
    )
}
