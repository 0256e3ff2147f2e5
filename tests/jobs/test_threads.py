"""Workers and threads, and what importing the room costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.jobs import threads

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (2, 4), (3, 2), (8, 1)])
def test_workers_share_the_cores(workers, share):
    assert threads.share_of_cores(workers) == share


def test_the_environment_says_it_first(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.share_of_cores(1) == threads.share_of_cores(8) == 1


@pytest.mark.parametrize(
    ("workers", "variable", "part"),
    [
        (0, "", "--workers 0: expected a number of at least 1"),
        (9, "", "--workers 9: this machine has 8 cores"),
        (4, "4", "--workers 4 with OMP_NUM_THREADS=4 want 16 cores, and this machine has 8"),
    ],
)
def test_more_threads_than_cores_are_refused(monkeypatch, workers, variable, part):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with pytest.raises(RequestError, match=part):
        threads.share_of_cores(workers)


def test_the_room_is_imported_without_torch():
    code = "import sys, fuxictr_qnn.jobs; print([n for n in ('torch', 'ray', 'fuxictr') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
