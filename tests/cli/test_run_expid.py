"""`python -m fuxictr_qnn.run_expid` in the place of FuxiCTR's run_expid.py."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from fuxictr_qnn.paths import shipped
from fuxictr_qnn.run_expid import main

RESULT = re.compile(
    r"^ \d{8}-\d{6},\[command\] python -m fuxictr_qnn\.run_expid (?P<arguments>.*),\[exp_id\] (?P<expid>\w+),"
    r"\[dataset_id\] (?P<dataset>\w+),\[train\] N\.A\.,\[val\] (?P<valid>.*),\[test\] (?P<test>.*)$"
)


@pytest.fixture(autouse=True)
def _root_logger():
    """run_expid configures the root logger, as FuxiCTR's script does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level


def test_leaves_what_fuxictrs_script_leaves(shop):
    assert main(["--config", "config", "--expid", "QNN_shop", "--gpu", "-1"]) == 0
    metrics = json.loads(next(shop.root.glob("runs/QNN_shop-*/seed7/metrics.json")).read_text())
    line = RESULT.match(Path("config.csv").read_text())
    assert (line["expid"], line["dataset"]) == ("QNN_shop", "shop")
    assert line["arguments"] == "--config config --expid QNN_shop --gpu -1"
    for split in ("valid", "test"):
        scores = " - ".join(f"{name}: {value:.6f}" for name, value in metrics[split].items())
        assert line[split] == scores
        assert f"[Metrics] {scores}" in Path("checkpoints/shop/QNN_shop.log").read_text()
    weights = torch.load("checkpoints/shop/QNN_shop.model", weights_only=True)
    assert weights["fc.weight"].shape == (1, 8)


def test_model_root_and_a_second_line(shop):
    config = shop.config / "model_config" / "lr.yaml"
    config.write_text(config.read_text().replace("seed: 7", "seed: 7, model_root: elsewhere"))
    for expid in ("LR_shop", "QNN_shop"):
        assert main(["--config", str(shop.config), "--expid", expid]) == 0
    assert Path("elsewhere/shop/LR_shop.model").is_file()
    assert [RESULT.match(line)["expid"] for line in Path("config.csv").read_text().splitlines()] == [
        "LR_shop",
        "QNN_shop",
    ]


def test_a_wrong_request_is_2_and_writes_nothing(shop, capsys):
    before = shop.files()
    assert main(["--config", "config", "--expid", "QNN_shp"]) == 2
    assert "'QNN_shop'" in capsys.readouterr().err and shop.files() == before


def test_debug_shows_where_a_bug_is(monkeypatch, capsys):
    def fail(*arguments):
        raise KeyError("a bug")

    monkeypatch.setattr("fuxictr_qnn.run_expid.load_experiment", fail)
    request = ["--config", "config", "--expid", "LR_shop"]
    assert main(request) == 1 and "--debug shows where" in capsys.readouterr().err
    with pytest.raises(KeyError):
        main([*request, "--debug"])


def test_fuxictrs_autotuner_sweeps_our_model(tmp_path, monkeypatch):
    from fuxictr import autotuner

    zoo = shipped("model_zoo") / "QNNalpha"
    for name in ("model_config.yaml", "tuner_QNNalpha_demo.yaml"):
        shutil.copy(zoo / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    # FuxiCTR starts `python`, whichever comes first
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    config = yaml.safe_load(Path("model_config.yaml").read_text())
    config["QNNalpha_demo"]["epochs"] = 1
    Path("model_config.yaml").write_text(yaml.safe_dump(config))

    config_dir = autotuner.enumerate_params("tuner_QNNalpha_demo.yaml")
    trials = yaml.safe_load((Path(config_dir) / "model_config.yaml").read_text())
    assert sorted(trial["num_row"] for trial in trials.values()) == [2, 4]
    autotuner.grid_search(config_dir, [-1], script="-m fuxictr_qnn.run_expid")

    lines = [RESULT.match(line) for line in Path("tuner_QNNalpha_demo.csv").read_text().splitlines()]
    assert [line["expid"] for line in lines] == sorted(trials)
    for line in lines:
        assert float(re.match(r"AUC: (\d\.\d+)", line["valid"])[1]) > 0.6
        assert Path(f"checkpoints/{line['dataset']}/{line['expid']}.model").is_file()
        run = next(Path("runs").glob(f"{line['expid']}-*/seed2024/config.yaml"))
        params = yaml.safe_load(run.read_text())["experiment"]["model_params"]
        assert params["num_row"] == trials[line["expid"]]["num_row"]
