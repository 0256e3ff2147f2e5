"""Names that are imported when they are first asked for."""

from __future__ import annotations

import importlib

import pytest

PACKAGES = ["fuxictr_qnn", "fuxictr_qnn.data", "fuxictr_qnn.models", "fuxictr_qnn.training"]


@pytest.mark.parametrize("name", PACKAGES)
def test_tab_completion_shows_them(name):
    package = importlib.import_module(name)
    assert set(package.__all__) <= set(dir(package))
    assert "__name__" in dir(package)
    assert not hasattr(package, "nobody")
