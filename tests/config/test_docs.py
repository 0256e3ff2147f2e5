"""The pages for users name every old key."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.config import keys

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from_fuxictr.md").read_text()


@pytest.mark.parametrize(
    "key",
    sorted(
        {*keys.RENAMED, *keys.RENAMED_IN_COLUMNS, *keys.IGNORED, *keys.IGNORED_IN_COLUMNS, *keys.ONLY_OFF}
    ),
)
def test_coming_from_fuxictr_is_key_by_key(key):
    assert f"`{key}`" in PAGE or f"`{key}:" in PAGE


@pytest.mark.parametrize("old, new", [*keys.RENAMED.items(), *keys.RENAMED_IN_COLUMNS.items()])
def test_it_says_what_became_of_a_renamed_key(old, new):
    assert any(f"`{old}`" in line and f"`{new}`" in line for line in PAGE.splitlines())
