"""`fuxictr report --slices`, as a user types it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.reporting import plots

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def trained(shop) -> Path:
    run = ["run", "--config", "config", "--expid", "LR_shop", "QNN_shop", "--gpu", "-1", "--set", "epochs=1"]
    assert main(run) == 0
    return shop.root


def test_everything_that_is_written(trained):
    command = [sys.executable, "-m", "fuxictr_qnn", "report", "runs", "--to", "out"]
    command += ["--slices", "user", "item", "--format", "md", "csv"]
    found = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert "by user" in found.stdout and "by item" in found.stdout
    out = trained / "out"
    rows = list(csv.DictReader((out / "slices.csv").open()))
    assert {row["feature"] for row in rows} == {"user", "item"}
    assert {row["label"] for row in rows} == {"LR_shop", "QNN_shop"}
    printed = {line.split()[0] for line in found.stdout.splitlines() if line.strip()}
    assert printed > {row["value"] for row in rows if row["kind"] == "value"}
    whole = [row for row in rows if row["kind"] == "all"]
    assert [int(row["rows"]) for row in whole] == [200] * 4
    page = (out / "report.html").read_text()
    assert ", by user" in page and "all rows" in page and "all rows" in (out / "slices.md").read_text()
    assert "Training has seen all values of the test rows." in found.stdout
    if plots.has_matplotlib():
        for feature in ("user", "item"):
            assert (out / "plots" / f"shop-slices-{feature}.svg").stat().st_size > 1000
            assert (out / "plots" / f"shop-slices-{feature}.png").exists()


def test_an_unknown_feature_leaves_nothing(trained, capsys):
    assert main(["report", "runs", "--to", "out", "--slices", "usr"]) == 2
    assert "--slices usr: not a feature of shop. Did you mean 'user'?" in capsys.readouterr().err
    assert not (trained / "out").exists()
