"""One run, trained once; tests that change it get a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fuxictr_qnn.data import Places
from tests.serving.made_clicks import experiment_of, spec_of, write_clicks


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run; train.csv, valid.csv and test.csv lie in `data` beside its `runs`."""
    from fuxictr_qnn.training import run_seed

    root = tmp_path_factory.mktemp("clicks")
    (root / "data").mkdir()
    write_clicks(root / "data")
    places = Places(data_root=root / "data", config_dir=root / "data")
    return run_seed(experiment_of(spec_of()), 1, places=places, out=root / "runs", gpu=-1).folder


@pytest.fixture
def rows(trained: Path) -> Path:
    """The raw test rows of the run."""
    return trained.parents[2] / "data" / "test.csv"


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be tampered with."""
    folder = tmp_path / "runs" / trained.parent.name / trained.name
    shutil.copytree(trained, folder)
    return folder
