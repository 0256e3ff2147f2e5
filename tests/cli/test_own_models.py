"""`--zoo` in sweeps and comparisons, as processes of their own; and that nothing starts Ray unasked."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuxictr_qnn.reporting.plots import has_matplotlib
from tests.clicks import write_clicks, write_tuner
from tests.comparing.conftest import MODELS, write_configs
from tests.own_model import write_zoo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fuxictr(tmp_path):
    """Runs the command in a folder with data and a zoo; a Ray would leave its session there, too."""
    write_clicks(tmp_path / "data")
    write_zoo(tmp_path / "zoo")
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(tmp_path / "ray")}
    (tmp_path / "ray").mkdir()

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "fuxictr_qnn", *arguments, "--gpu", "-1", "--workers", "2"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert not list((tmp_path / "ray").iterdir())  # test_tune.py sees that Ray leaves one
        return done.stdout

    return run


def test_a_sweep_over_a_model_of_ones_own(fuxictr, tmp_path):
    base = {"model": "Tiny", "epochs": 1, "num_layers": None, "net_dropout": None}
    write_tuner(tmp_path / "tuner.yaml", {"hidden_units": [[4], [8]]}, **base)
    said = fuxictr("tune", "--config", "tuner.yaml", "--zoo", "zoo")
    assert "2 done, 0 to do" in said
    rows = list(csv.DictReader((tmp_path / "sweeps/tuner/results.csv").open()))
    assert {row["hidden_units"] for row in rows} == {"[4]", "[8]"}
    assert {row["state"] for row in rows} == {"done"}


def test_a_model_of_ones_own_against_a_baseline(fuxictr, tmp_path):
    write_configs(tmp_path / "config", {"LR": MODELS["LR"], "Tiny": {"hidden_units": [8]}})
    said = fuxictr(
        *("compare", "--dataset", "clicks", "--models", "LR", "Tiny", "--config", "config", "--zoo", "zoo"),
        *("--proposed", "Tiny_clicks", "--trials", "2", "--name", "it", "--set", "epochs=1"),
        *("--format", "md"),
    )
    assert "The comparator is LR_clicks" in said and "Tiny is not in the space" in said
    rows = list(csv.DictReader((tmp_path / "comparisons/it/results.csv").open()))
    assert sorted((row["expid"], row["seed"]) for row in rows) == [
        (expid, str(seed)) for expid in ("LR_clicks", "Tiny_clicks") for seed in (1, 2, 3)
    ]
    assert all(float(row["test_AUC"]) > 0.6 for row in rows)
    if has_matplotlib():
        assert list((tmp_path / "comparisons/it/plots").glob("clicks-*.png"))
