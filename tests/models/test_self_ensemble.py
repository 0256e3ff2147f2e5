"""The self-ensemble loss for models from anywhere."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from fuxictr.pytorch.layers import FeatureEmbedding
from fuxictr.pytorch.models import BaseModel
from torch import nn

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models import DNN, registry
from fuxictr_qnn.models.registry import model_class, register_model
from fuxictr_qnn.training.setup import build_model
from tests.synthetic import BASE, make_batches, make_feature_map


class Foreign(BaseModel):
    """Written as FuxiCTR's models are; it has never heard of the self-ensemble loss."""

    def __init__(self, feature_map, model_id="Foreign", gpu=-1, learning_rate=1e-2, dropout=0.5, **kwargs):
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, kwargs.get("embedding_dim", 4))
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout))
        self.out = nn.Linear(16, 1)
        self.compile(kwargs.get("optimizer", "adam"), "binary_crossentropy", learning_rate)
        self.reset_parameters()

    def forward(self, inputs):
        x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.output_activation(self.out(self.net(x)))}


class OwnLoss(Foreign):
    def add_loss(self, return_dict, y_true):
        return 2 * super().add_loss(return_dict, y_true)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    register_model(Foreign)
    register_model(OwnLoss)


FEATURE_MAP = make_feature_map({"a": 9, "b": 7}, dim=4)
BATCH = make_batches(FEATURE_MAP, 64, 1)[0]


def foreign(**kwargs):
    torch.manual_seed(0)
    cls = model_class("Foreign", kwargs)
    return cls(FEATURE_MAP, **kwargs, **BASE)


def cross_entropy(p, q):
    return -np.mean(q * np.log(p) + (1 - q) * np.log(1 - p))


def own(**kwargs):
    return DNN(FEATURE_MAP, embedding_dim=4, net_dropout=0.5, **kwargs, **BASE)


@pytest.mark.parametrize("make", [foreign, own])
def test_two_passes_in_training_one_at_evaluation_and_the_loss_of_equation_11(make):
    model = make(self_ensemble=True)
    outputs, y = model.train()(BATCH), BATCH["label"].view(-1, 1)
    p1, p2, mean = (outputs[key].detach().double().numpy() for key in ("y_pred_1", "y_pred_2", "y_pred"))
    assert not np.allclose(p1, p2)
    np.testing.assert_allclose(mean, (p1 + p2) / 2, rtol=1e-6)
    expected = cross_entropy(mean, y.numpy()) + cross_entropy(p1, mean) + cross_entropy(p2, mean)
    assert model.add_loss(outputs, y).item() == pytest.approx(expected, rel=1e-5)
    assert set(model.eval()(BATCH)) == {"y_pred"}


def test_consistency_loss_and_weight_are_options():
    model = foreign(self_ensemble=True, consistency="mse", consistency_weight=3.0)
    outputs, y = model.train()(BATCH), BATCH["label"].view(-1, 1)
    p1, p2, mean = (outputs[key].detach().double().numpy() for key in ("y_pred_1", "y_pred_2", "y_pred"))
    expected = cross_entropy(mean, y.numpy()) + 3 * (np.mean((p1 - mean) ** 2) + np.mean((p2 - mean) ** 2))
    assert model.add_loss(outputs, y).item() == pytest.approx(expected, rel=1e-5)


def test_running_statistics_move_once_a_pass():
    model = foreign(self_ensemble=True)
    model.train()(BATCH)
    assert model.net[1].num_batches_tracked == 2


def test_off_leaves_the_model_as_it_was():
    model, plain = foreign(self_ensemble=False), foreign()
    assert set(model.train()(BATCH)) == {"y_pred"}
    assert type(plain) is Foreign
    for (name, ours), (_, theirs) in zip(model.state_dict().items(), plain.state_dict().items(), strict=True):
        assert ours.shape == theirs.shape, name
    torch.testing.assert_close(model.eval()(BATCH)["y_pred"], plain.eval()(BATCH)["y_pred"])


def test_it_trains_under_fuxictrs_own_train_step():
    model = foreign(self_ensemble=True, dropout=0.2)
    model._max_gradient_norm = 10.0
    model.train()
    losses = [model.train_step(BATCH).item() for _ in range(80)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_a_model_with_its_own_loss_is_refused():
    with pytest.raises(
        RequestError, match="OwnLoss has its own add_loss, which the self-ensemble loss would"
    ):
        model_class("OwnLoss", {"self_ensemble": True})


def test_regression_is_refused():
    with pytest.raises(ValueError, match="set self_ensemble to false for regression"):
        foreign(self_ensemble=True, task="regression")


def experiment(*settings):
    return load_experiment("DNN_demo", None, ["dataset_id=demo", *settings]).experiment


def test_config_keys_are_known_for_any_model_and_checked():
    params = experiment("model=Foreign", "self_ensemble=true", "consistency=kl").model_params
    assert (params["self_ensemble"], params["consistency"]) == (True, "kl")
    with pytest.raises(RequestError, match="consistency_weight = 'much'"):
        experiment("model=Foreign", "self_ensemble=true", "consistency_weight=much")
    with pytest.raises(RequestError, match="OwnLoss has its own add_loss"):
        experiment("model=OwnLoss", "self_ensemble=true")


def test_without_dropout_there_is_a_warning(caplog, tmp_path):
    feature_map = make_feature_map({"a": 9}, dim=4)
    for dropout, warned in ((0.0, True), (0.3, False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            build_model(experiment("self_ensemble=true", f"net_dropout={dropout}"), feature_map, -1, tmp_path)
        assert ("self_ensemble without dropout" in caplog.text) is warned


@pytest.mark.parametrize("on", ["true", "false"])
@pytest.mark.parametrize(
    ("setting", "words"),
    [("consistency=l2", "unknown consistency loss 'l2'"), ("consistency_weight=-1", "must not be negative")],
)
def test_a_wrong_consistency_loss_is_refused_before_training(setting, words, on, tmp_path):
    with pytest.raises(RequestError, match=f"DNN cannot be built: .*{words}"):
        build_model(experiment(f"self_ensemble={on}", setting), FEATURE_MAP, -1, tmp_path)


def test_a_consistency_loss_that_nothing_uses_brings_a_warning(caplog, tmp_path):
    for settings, warned in ((["consistency=mse"], True), (["consistency=mse", "self_ensemble=true"], False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            build_model(experiment("net_dropout=0.3", *settings), FEATURE_MAP, -1, tmp_path)
        assert ("consistency: without self_ensemble there is no consistency loss" in caplog.text) is warned
