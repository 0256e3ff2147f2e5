"""`fuxictr_qnn.train`: what `fuxictr run` does, called from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import fuxictr_qnn
from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.run_folder import RunFolder
from tests.clicks import DATASET, EXPID, write_clicks


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with a config directory and data."""
    folder = tmp_path_factory.mktemp("project")
    write_clicks(folder / "data")
    (folder / "config").mkdir()
    (folder / "config" / "model_config.yaml").write_text(yaml.safe_dump({"QNNalpha_clicks": EXPID}))
    (folder / "config" / "dataset_config.yaml").write_text(yaml.safe_dump({"clicks": DATASET}))
    return folder


SETTINGS = {"learning_rate": 5e-3, "epochs": 1, "optimizer_params": {"eps": 1e-7}}


def test_it_leaves_what_the_command_leaves(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project)  # the data are in ./data
    result = fuxictr_qnn.train(
        "QNNalpha_clicks", 11, SETTINGS, config="config", out=str(tmp_path / "runs"), gpu=-1
    )
    texts = ["learning_rate=5e-3", "epochs=1", "optimizer_params.eps=1e-7"]
    same = load_experiment("QNNalpha_clicks", project / "config", texts).experiment
    assert result.folder == RunFolder(tmp_path / "runs", same, 11).path
    assert result.metrics["seed"] == 11 and 0.4 < result.metrics["test"]["AUC"] < 1
    again = fuxictr_qnn.train("QNNalpha_clicks", 11, SETTINGS, config="config", out=tmp_path / "runs", gpu=-1)
    assert again.reused and again.metrics == result.metrics


def test_the_places_of_the_environment(project, tmp_path, monkeypatch):
    monkeypatch.setenv("FUXICTR_DATA", str(project / "data"))
    monkeypatch.setenv("FUXICTR_BUILDS", str(tmp_path / "builds"))
    monkeypatch.chdir(tmp_path)
    result = fuxictr_qnn.train(settings={"epochs": 1}, config=project / "config", gpu=-1)
    assert result.metrics["seed"] == EXPID["seed"] and result.folder.is_relative_to("runs")
    assert (tmp_path / "builds" / "clicks").is_dir() and not result.reused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"settings": {"lerning_rate": 0.1}}, "lerning_rate.*learning_rate"),
        ({"seed": -1}, "seed -1: expected a whole number from 0"),
        ({"expid": "QNNalpha_click"}, "Did you mean 'QNNalpha_clicks'"),
    ],
)
def test_wrong_requests_leave_nothing(project, tmp_path, arguments, said):
    with pytest.raises(RequestError, match=said):
        fuxictr_qnn.train(
            **{"expid": "QNNalpha_clicks"} | arguments,
            config=project / "config",
            data_root=project / "data",
            out=tmp_path / "runs",
        )
    assert not list(tmp_path.iterdir())
