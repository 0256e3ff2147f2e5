"""Tables that users hold in memory, as polars frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from fuxictr_qnn.errors import RequestError


def as_frame(data: Any) -> pl.DataFrame:
    """A polars or pandas frame, an arrow table or batch, or a dict of columns as a polars frame.

    A dict holds a list, array or series for each column, or a single value: one that every row has, or the
    only row's.

    Raises:
        RequestError: something else, or columns that do not fit together.
    """
    for kind, convert in _CONVERTERS.items():
        if _is(data, kind):
            try:
                return convert(data)
            except Exception as error:  # whatever polars and arrow make of somebody's objects
                reason = str(error).strip().split("\n")[0]
                raise RequestError(f"the {kind} cannot be read as a table: {reason}") from error
    known = ", ".join(_CONVERTERS)
    raise RequestError(f"rows come as one of {known}, not as {type(data).__module__}.{type(data).__name__}")


def _is(data: Any, kind: str) -> bool:
    """Whether an object's class, or one it derives from, has this name; imports no package to find out."""
    package, _, name = kind.rpartition(".")
    return any(
        base.__name__ == name and base.__module__.split(".")[0] == package for base in type(data).__mro__
    )


def _of_columns(columns: dict[str, Any]) -> pl.DataFrame:
    """Lists may mix whole numbers with others, as Python's do."""

    def typed(values: Any) -> Any:
        mixed = isinstance(values, (list, tuple)) and {int, float} <= set(map(type, values)) <= _NUMBERS
        return pl.Series(values, dtype=pl.Float64, strict=False) if mixed else values

    return pl.DataFrame({name: typed(values) for name, values in columns.items()})


_NUMBERS = {int, float, type(None)}
_CONVERTERS: dict[str, Callable[[Any], pl.DataFrame]] = {
    "polars.DataFrame": lambda frame: frame,
    "polars.LazyFrame": lambda frame: frame.collect(),
    "pandas.DataFrame": lambda frame: pl.from_pandas(frame, nan_to_null=True),
    "pyarrow.Table": pl.from_arrow,
    "pyarrow.RecordBatch": pl.from_arrow,
    "builtins.dict": _of_columns,
}
