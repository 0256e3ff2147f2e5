"""The benchmarks that are quick enough to be run here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_decision_surfaces_draws_its_picture_and_its_table(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    script("decision_surfaces").main(["--seeds", "2", "--epochs", "3", "--folder", str(tmp_path)])
    assert (tmp_path / "decision_surfaces.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "decision_surfaces.md").read_text()
    rows = [line for line in written.splitlines() if line.startswith("| T19 |")]
    cells = [cell.strip() for cell in rows[0].split("|")[2:-1]]
    assert len(rows) == 1 and (cells[0], cells[3]) == ("0.9233", "0.9933")
    assert rows[0] in capsys.readouterr().out
    for drawn, mean in (cells[1:3], cells[4:6]):
        assert 0 <= float(drawn) <= 1 and " ± " in mean


def test_a_quadratic_network_separates_the_circles_and_a_linear_one_cannot():
    module = script("decision_surfaces")
    toy = module.TOYS["circles"]
    assert module.train("T9", toy, toy.epochs, seed=0).accuracy > 0.95
    assert module.train("MLP without activation", toy, toy.epochs, seed=0).accuracy < 0.6
