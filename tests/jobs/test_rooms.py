"""Jobs know no sweep, sweeps no command line: nothing imports upwards."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fuxictr_qnn

ROOT = Path(fuxictr_qnn.__file__).parent
ABOVE = {
    "training": ("jobs", "tuning", "reporting", "comparing", "serving", "cli"),
    "serving": ("jobs", "tuning", "reporting", "comparing", "cli"),
    "jobs": ("tuning", "reporting", "comparing", "serving", "config", "cli"),
    "tuning": ("comparing", "cli"),
    "reporting": ("tuning",),
    "comparing": ("cli",),
}


@pytest.mark.parametrize("room", ABOVE)
def test_what_a_room_must_not_import(room):
    above = tuple(f"fuxictr_qnn.{name}" for name in ABOVE[room])
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        nodes = ast.walk(ast.parse(file.read_text()))
        names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        assert [name for name in names if name.startswith(above)] == [], file
