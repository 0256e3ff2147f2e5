"""The demo: no arguments, no data, no network."""

from __future__ import annotations

import json

import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.data.simulated.simulation import best_possible


def test_run_alone_trains_qnnalpha_on_simulated_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--set", "epochs=1", "batch_size=5000", "eval_batch_size=25000"]) == 0
    output = capsys.readouterr().out
    metrics = json.loads(next(tmp_path.glob("runs/QNNalpha_demo-*/seed2024/metrics.json")).read_text())
    assert f"{metrics['test']['AUC']:.5f}" in output
    assert output.split("best possible")[1].split()[0] == f"{best_possible('demo')['AUC']:.5f}"


@pytest.mark.slow
def test_the_four_models_come_in_the_order_of_what_they_can_express(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = ["LR", "FM", "DNN", "QNNalpha"]
    assert main(["run", "--expid", *(f"{model}_demo" for model in models)]) == 0
    records = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/seed2024/metrics.json")]
    auc = {record["model"]: record["test"]["AUC"] for record in records}
    assert sorted(auc, key=auc.get) == models and auc["QNNalpha"] < best_possible("demo")["AUC"]
