"""Data flows one way: who reads files knows neither where they were got from nor what is built from them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fuxictr_qnn

ROOT = Path(fuxictr_qnn.__file__).parent


ABOVE = ("data.download", "data.building", "data.quality", "training", "config", "models", "cli")


@pytest.mark.parametrize("room", ["raw", "items", "encoded", "loaders"])
def test_what_a_room_must_not_import(room):
    above = tuple(f"fuxictr_qnn.{name}" for name in ABOVE)
    for file in (ROOT / "data" / room).glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text()))
        names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        assert [name for name in names if name.startswith(above)] == [], file
