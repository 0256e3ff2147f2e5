"""`fuxictr list` and `fuxictr doctor`."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from fuxictr_qnn.cli import app, doctor, main
from fuxictr_qnn.cli import list as list_command


def output_of(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_models(capsys):
    assert {"QNNalpha", "LR", "FM", "DNN"} <= set(output_of(capsys, "list", "models").split())
    assert "LR" not in output_of(capsys, "list", "models", "QNN*").split()


def test_expids(capsys):
    line = next(
        line for line in output_of(capsys, "list", "expids").splitlines() if "QNNalpha_frappe " in line
    )
    assert line.split() == [
        "QNNalpha_frappe",
        "QNNalpha",
        "frappe_x1",
        "model_zoo/QNNalpha/model_config.yaml",
    ]
    assert "nothing matches" in output_of(capsys, "list", "expids", "nobody*")


def test_expids_of_a_config_directory(shop, capsys):
    lines = output_of(capsys, "list", "expids", "--config", "config")
    assert "LR_shop" in lines and "QNN_shop" in lines and "QNNalpha_demo" not in lines


def test_datasets_and_their_files(shop, capsys):
    lines = output_of(capsys, "list", "datasets", "--config", "config").splitlines()
    found = {line.split()[0]: line for line in lines if line.strip()}
    assert "there" in found["shop"] and "missing" in found["frappe_x1"]


def test_a_broken_config_is_2(shop, capsys):
    (shop.config / "dataset_config.yaml").write_text("shop: !!python/name:os.system")
    assert main(["list", "datasets", "--config", "config"]) == 2
    assert "dataset_config.yaml, line 1" in capsys.readouterr().err


@pytest.mark.parametrize("moment", ["imports", "command"])
def test_an_interruption_is_one_line_and_130(moment, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    if moment == "imports":
        monkeypatch.setattr(app.importlib, "import_module", interrupted)
    else:
        monkeypatch.setitem(list_command.LISTS, "models", interrupted)
    assert main(["list", "models"]) == 130
    assert capsys.readouterr().err.startswith("fuxictr: interrupted; ")


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _wide_terminal(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "400")

    def test_all_is_well(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        output = output_of(capsys, "doctor")
        for part in (
            "torch",
            "fuxictr",
            "polars",
            "scan_csv(dtypes=...) works",
            "GPU",
            "extra onnx",
            "ready",
        ):
            assert part in output
        assert list(tmp_path.iterdir()) == []

    def test_extras_are_those_of_setup_cfg(self):
        setup = ConfigParser()
        setup.read(Path(__file__).parents[2] / "setup.cfg")
        declared = {
            extra: [re.match(r"[\w-]+", line)[0] for line in wanted.split("\n") if line]
            for extra, wanted in setup["options.extras_require"].items()
            if extra != "all"
        }
        assert declared == doctor.EXTRAS

    def test_a_missing_extra_comes_with_its_command(self, capsys, monkeypatch):
        monkeypatch.setitem(doctor.EXTRAS, "plot", ["no_such_package"])
        output = output_of(capsys, "doctor")
        assert "without no_such_package" in output and "pip install 'fuxictr-qnn[plot]'" in output

    @pytest.mark.parametrize("broken", ["_polars_takes_dtypes", "_has_torch_layers"])
    def test_a_missing_capability_is_1(self, capsys, monkeypatch, broken):
        def fail() -> str:
            raise TypeError("scan_csv() got an unexpected keyword")

        monkeypatch.setattr(doctor, broken, fail)
        assert main(["doctor"]) == 1
        assert "not ready" in capsys.readouterr().out
