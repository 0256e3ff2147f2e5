"""What all tests share: where real data lies, and caches that never touch the user's own."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported, here and in what the tests start: their tensors are too small for two
# threads, whose waiting would take the cores of the other test worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real datasets; its README tells what they are. Skips where it is absent."""
    folder = Path(os.environ.get("FUXICTR_QNN_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: set FUXICTR_QNN_TEST_DATA (looked at {folder})")
    return folder


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches data, builds and caches of whoever runs it, nor prints to the width of its window."""
    for name in ("FUXICTR_DATA", "FUXICTR_BUILDS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
