"""Which configs a request names, and with which settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.comparing.request import Request, default_name, find_configs
from fuxictr_qnn.errors import RequestError
from tests.comparing.conftest import write_configs


@pytest.fixture
def config(tmp_path) -> Path:
    return write_configs(tmp_path / "config")


def test_the_config_of_a_model_on_a_dataset():
    found = find_configs(Request(dataset="ml_1m_x1", models=("DNN", "QNNalpha")))
    assert [named.entry.name for named in found] == ["DNN_ml1m", "QNNalpha_ml1m"]
    assert {named.dataset.name for named in found} == {"ml_1m_x1"}


def test_own_configs_go_by_the_name_of_their_dataset(config):
    found = find_configs(Request(dataset="clicks", models=("LR",), config=config))
    assert [(named.entry.name, named.dataset.file.parent) for named in found] == [("LR_clicks", config)]


def test_recipes_take_the_keys_of_the_data_only(config):
    sets = ("epochs=2", "min_categr_count=2", "metrics=[AUC]", "optimizer_params.eps=1e-6")
    found = find_configs(Request(expids=("LR_clicks",), recipes=("DNN_clicks",), config=config, sets=sets))
    assert [key for key, _ in found[0].sets] == [text.partition("=")[0] for text in sets]
    assert [key for key, _ in found[1].sets] == ["min_categr_count", "metrics"] and found[1].recipe


def test_a_proposed_model_has_to_be_compared(config):
    with pytest.raises(
        RequestError, match="--proposed DMN_clicks: it is not compared. Did you mean 'DNN_clicks'"
    ):
        find_configs(
            Request(expids=("LR_clicks", "DNN_clicks"), proposed=("LR_clicks", "DMN_clicks"), config=config)
        )


def test_one_comparison_is_on_one_dataset(config):
    with pytest.raises(RequestError, match="on one dataset: DNN_demo on demo, DNN_frappe on frappe_x1"):
        find_configs(Request(expids=("DNN_demo", "DNN_frappe")))
    assert len(find_configs(Request(expids=("DNN_demo", "DNN_frappe"), sets=("dataset_id=demo",)))) == 2


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (Request(dataset="ml_1m_x1", models=("DNN", "QNNalpha")), "ml1m-DNN-QNNalpha"),
        (Request(expids=("DNN_demo", "LR_demo"), recipes=("FM_demo",)), "demo-DNN-LR"),
        (
            Request(expids=("QNNalpha_frappe", "QNNalpha_frappe_patient")),
            "frappe-QNNalpha-QNNalpha_frappe_patient",
        ),
    ],
)
def test_names_of_folders(request_, name):
    assert default_name(find_configs(request_)) == name


def test_long_names_of_folders_are_short_and_their_own():
    models = ("QNNalpha_DeepFM", "QNNalpha_xDeepFM", "QNNalpha_DCNv2", "QNNalpha_MLP", "QNNalpha")
    one, other = (Request(dataset="demo", models=some) for some in (models, models[::-1]))
    names = [default_name(find_configs(request)) for request in (one, other)]
    assert all(name.startswith("demo-5-models-") and len(name) < 30 for name in names)
    assert names[0] != names[1]
