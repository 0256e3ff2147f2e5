"""The bar of a fit."""

from __future__ import annotations

import logging
import sys

import pytest

from fuxictr_qnn.training.progress import FitProgress


@pytest.mark.parametrize(("terminal", "first"), [(True, True), (True, False), (False, True)])
def test_one_worker_draws_a_bar_and_only_on_a_terminal(terminal, first, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = FitProgress(3, logging.getLogger(), bar=first)
    assert progress._bar.disable is not (terminal and first)
