"""`fuxictr report`: from run folders to tables, pictures and a page."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.reporting import plots, report, tensorboard
from tests.reporting.made_runs import make_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """Three seeds of two models, and one run that is not complete."""
    for seed in (1, 2, 3):
        make_run(tmp_path / "runs", "QNNalpha_shop", seed, 0.9, model="QNNalpha")
        make_run(tmp_path / "runs", "DNN_shop", seed, 0.6)
    (make_run(tmp_path / "runs", "FM_shop", 1, model="FM") / "metrics.json").unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def no_pictures(monkeypatch):
    """As where matplotlib is missing; drawing takes seconds."""
    for module in (plots, report):
        monkeypatch.setattr(module, "has_matplotlib", lambda: False)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_real_runs(shop, no_pictures, capsys):
    """What `fuxictr run` leaves is what `fuxictr report` reads."""
    run = ["run", "--config", "config", "--expid", "LR_shop", "QNN_shop", "--gpu", "-1", "--seeds", "2"]
    assert main([*run, "--set", "epochs=1"]) == 0
    capsys.readouterr()
    assert main(["report", "runs", "--to", "out"]) == 0
    output = capsys.readouterr().out
    assert "LR_shop" in output and "QNN_shop" in output and "left out" not in output
    rows = list(csv.DictReader((shop.root / "out" / "results.csv").open()))
    assert [(row["expid"], row["seed"]) for row in rows].count(("QNN_shop", "7")) == 1 and len(rows) == 4
    folder = next(shop.root.glob("runs/QNN_shop-*/seed7"))
    metrics = json.loads((folder / "metrics.json").read_text())
    row = next(row for row in rows if (row["expid"], row["seed"]) == ("QNN_shop", "7"))
    assert float(row["test_AUC"]) == metrics["test"]["AUC"] and row["folder"] == str(folder.resolve())
    assert float(row["train_seconds"]) == metrics["seconds"]["train"]
    scores = pl.read_parquet(folder / "test_scores.parquet")
    ratio = scores["y_pred"].sum() / scores["y_true"].sum()
    assert float(row["predicted_over_observed"]) == pytest.approx(ratio)
    assert 0 < float(row["calibration_error"]) < 1


def test_everything_that_is_written(runs, capsys):
    assert main(["report", "runs"]) == 0
    found = files(runs.parent / "report")
    texts = {"report.html", "results.csv", "table.md", "table.csv", "table.tex", "table.html"}
    names = {
        f"plots/shop-{name}.{end}"
        for name in ("seeds", "curves", "cost", "calibration")
        for end in ("svg", "png")
    }
    assert found == texts | (names if plots.has_matplotlib() else set())
    output = capsys.readouterr().out
    assert "better" in output and "comparator" in output and "The comparator is DNN_shop" in output
    assert "left out: '" in output and "is incomplete" in output and "see report/report.html" in output
    page = (runs.parent / "report" / "report.html").read_text()
    assert "is incomplete" in page and "QNNalpha_shop" in page


def test_a_failed_seed_stands_in_its_row_and_trials_are_counted(runs, no_pictures, capsys):
    failed = next(runs.glob("DNN_shop-*")) / "seed4"
    failed.mkdir()
    (failed / "failed.json").write_text('{"reason": "the loss is not finite"}')
    trial = make_run(runs / "tune", "DNN_shop", 2024, 0.6)
    (trial / "trial.json").write_text('{"values": {}}')
    assert main(["report", "runs", "--to", "out", "--format", "md"]) == 0
    output = capsys.readouterr().out
    assert "DNN_shop, seed 4 has no result: the loss is not finite" in output
    assert f"left out: '{failed}' has no result, the run failed: the loss is not finite" in output
    assert "left out: 1 trial of sweeps, there to choose settings" in output
    table = (runs.parent / "out" / "table.md").read_text()
    assert "1-3, 4 failed" in table and "2024" not in table


def test_significance_needs_three_seeds_of_each_row(runs, no_pictures, capsys):
    assert main(["report", "runs", "--to", "out", "--significance"]) == 0
    shutil.rmtree(next(runs.glob("DNN_shop-*")) / "seed1")
    assert main(["report", "runs", "--to", "again", "--significance"]) == 2
    assert "DNN_shop: 2 seeds with a test AUC, and a significance test needs 3" in capsys.readouterr().err
    assert not (runs.parent / "again").exists()
    assert (
        main(["compare", "--dataset", "demo", "--models", "LR", "FM", "--seeds", "2", "--significance"]) == 2
    )
    assert "--significance: a test needs 3 seeds of each model, --seeds is 2" in capsys.readouterr().err


def test_formats_comparator_and_recipes(runs, no_pictures, capsys):
    assert (
        main(["report", "runs", "--to", "out", "--format", "md", "latex", "--comparator", "QNNalpha_shop"])
        == 0
    )
    assert {"table.md", "table.tex"} < files(runs.parent / "out")
    assert not {"table.csv", "table.html"} & files(runs.parent / "out")
    assert "The comparator is QNNalpha_shop" in capsys.readouterr().out
    assert main(["report", "runs", "--to", "out", "--recipe", "QNNalpha_shop"]) == 0
    table = (runs.parent / "out" / "table.md").read_text()
    assert "QNNalpha_shop (config as it stands)" in table


def test_each_build_of_the_data_has_its_table_and_pictures(runs, monkeypatch):
    monkeypatch.setattr(report, "pictures", lambda entries: [plots.seed_strips(entries)])
    make_run(runs / "one", "DNN_shop", 1, fingerprint="0" * 16)
    make_run(runs / "two", "DNN_shop", 1, fingerprint="1" * 16)
    assert main(["report", "runs/one", "runs/two", "--to", "out"]) == 0
    text = (runs.parent / "out" / "table.md").read_text()
    assert text.count("## shop (data ") == 2
    if plots.has_matplotlib():
        assert {f"plots/shop-{16 * mark}-seeds.svg" for mark in "01"} < files(runs.parent / "out")


def test_tensorboard(runs, no_pictures):
    pytest.importorskip("tensorboard")
    assert main(["report", "runs", "--to", "out", "--tensorboard"]) == 0
    events = {name for name in files(runs.parent / "out") if "tfevents" in name}
    assert len(events) == 6 and any(name.startswith("tensorboard/shop/DNN_shop/seed2/") for name in events)


def test_without_matplotlib_there_are_tables_and_a_sentence(runs, no_pictures, capsys):
    assert main(["report", "runs", "--to", "out"]) == 0
    assert "no pictures: they need matplotlib, pip install 'fuxictr-qnn[plot]'" in capsys.readouterr().out
    assert not (runs.parent / "out" / "plots").exists()
    assert "no pictures" in (runs.parent / "out" / "report.html").read_text()


class TestRefused:
    """Exit 2, every problem named, and nothing written."""

    @pytest.fixture(autouse=True)
    def _nothing_is_written(self, runs):
        before = files(runs.parent)
        yield
        assert files(runs.parent) == before

    def refused(self, capsys, *arguments: str) -> str:
        assert main(["report", *arguments]) == 2
        return capsys.readouterr().err

    def test_no_such_folder(self, runs, capsys):
        error = self.refused(capsys, "nowhere", "runs", "neither")
        assert "'nowhere' is no folder" in error and "'neither' is no folder" in error

    def test_nothing_complete(self, runs, capsys):
        error = self.refused(capsys, str(next(runs.glob("FM_shop-*"))))
        assert "no complete run" in error and "is incomplete" in error

    def test_a_folder_that_cannot_be_written_and_a_missing_package(self, runs, monkeypatch, capsys):
        file = str(next(runs.rglob("config.yaml")))
        monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
        error = self.refused(capsys, "runs", "--to", file, "--tensorboard")
        assert f"--to {file}: cannot be written" in error and "--tensorboard needs" in error

    def test_an_unknown_comparator_or_recipe(self, runs, capsys):
        assert "Did you mean 'DNN_shop'" in self.refused(capsys, "runs", "--comparator", "DNN_sho")
        assert "Did you mean 'DNN_shop'" in self.refused(capsys, "runs", "--recipe", "DN_shop")


CHEAP = """
import sys
from fuxictr_qnn.cli import main
from fuxictr_qnn.reporting import report
report.pictures = lambda entries: []  # drawing takes seconds
assert main(["report", "runs", "--to", "out"]) == 0
print([name for name in ("torch", "ray", "fuxictr") if name in sys.modules])
"""


def test_it_does_not_wait_for_torch(runs):
    done = subprocess.run(
        [sys.executable, "-c", CHEAP],
        cwd=runs.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
