"""Types of polars from their text."""

from __future__ import annotations

import ast
from typing import Any

import polars as pl
from polars.datatypes import DataType, DataTypeClass


def dtype_of(text: str) -> Any:
    """The polars type that `str` made this text of, such as "List(Int64)" or "Datetime(time_unit='us', ...)".

    Raises:
        ValueError: it is no type's.
    """
    try:
        found = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, AttributeError) as error:
        raise ValueError(f"{text!r} is no type of polars ({error})") from None
    if not isinstance(found, (DataType, DataTypeClass)):
        raise ValueError(f"{text!r} is no type of polars")
    return found


def _value(node: ast.expr) -> Any:
    """A type, or an argument of one: names and calls of polars' types and literals, nothing else."""
    if isinstance(node, ast.Name):
        return _type(node.id)
    if isinstance(node, ast.Call):
        named = {word.arg: _value(word.value) for word in node.keywords}
        return _type(node.func.id)(*map(_value, node.args), **named)
    if isinstance(node, ast.Dict):
        return {
            ast.literal_eval(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)
        }
    return ast.literal_eval(node)


def _type(name: str) -> Any:
    found = getattr(pl, name, None)
    if not isinstance(found, DataTypeClass):
        raise ValueError(f"{name} is no type of polars")
    return found
