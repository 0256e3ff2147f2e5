"""QNNalpha: published parameter totals, its forward pass, and what its loss is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.models import QNNalpha
from tests.shipped import expected_features, expid_settings, model_settings, trainable
from tests.synthetic import BASE, make_batches, make_feature_map

# The totals of the released logs: of the expids that we ship (on the authors' data), then of other runs.
PUBLISHED = {
    "Criteo_001": ("QNNalpha_criteo", {}, 22_372_577),
    "Tenrec_004": ("QNNalpha_tenrec", {}, 55_646_577),
    "ML_1M_015": ("QNNalpha_ml1m", {}, 207_649),
    "Frappe_045": ("QNNalpha_frappe", {}, 764_369),
    "iPinYou_035": ("QNNalpha_ipinyou_parity", {}, 11_182_929),
    "Criteo_002": ("QNNalpha_criteo", {"num_row": 6}, 23_932_577),
    "Criteo_016": ("QNNalpha_criteo", {"num_row": 4}, 20_812_577),
    "Criteo_no_tuning": ("QNNalpha_criteo", {"num_layers": 3, "num_row": 2}, 16_912_577),
    "KKBox_013": ("QNNalpha_kkbox_parity", {"num_layers": 2, "num_row": 5, "num_heads": 1}, 39_485_313),
}


@pytest.mark.parametrize("run", PUBLISHED)
def test_parameter_totals_are_the_published_ones(run):
    expid, changes, total = PUBLISHED[run]
    settings = model_settings("QNNalpha", expid) | changes
    dataset_id = expid_settings("QNNalpha", expid)["dataset_id"]
    features = expected_features(dataset_id, settings["embedding_dim"])
    assert trainable(QNNalpha(features, **settings, **BASE)) == total


# From the log of each winner, in the order of KEYS; the authors' config files say something else.
WINNERS = {
    "QNNalpha_criteo": (16, 10000, 1e-5, False, 4, 5, 1),
    "QNNalpha_tenrec": (16, 10000, 1e-5, True, 2, 10, 1),
    "QNNalpha_ml1m": (16, 4096, 1e-2, True, 1, 4, 4),
    "QNNalpha_frappe": (16, 4096, 0.1, True, 2, 13, 1),
    "QNNalpha_ipinyou": (16, 4096, 1e-3, True, 4, 2, 4),
    "QNNalpha_ipinyou_parity": (16, 4096, 1e-3, True, 4, 2, 4),
    "QNNalpha_kkbox": (128, 10000, 5e-4, True, 3, 3, 2),
    "QNNalpha_kkbox_parity": (128, 10000, 5e-4, True, 3, 3, 2),
}
KEYS = "embedding_dim batch_size embedding_regularizer batch_norm num_layers num_row num_heads".split()


@pytest.mark.parametrize("expid", WINNERS)
def test_winners_have_the_settings_of_their_logs(expid):
    found = expid_settings("QNNalpha", expid)
    assert tuple(found[key] for key in KEYS) == WINNERS[expid]
    common = {"seed": 2024, "learning_rate": 1e-3, "net_dropout": 0.1, "net_regularizer": 0, "epochs": 100}
    assert {key: found[key] for key in common} == common and found["early_stop_patience"] == 2


def small(**kwargs):
    torch.manual_seed(1)
    feature_map = make_feature_map({"a": 9, "b": 7, "c": 5}, {"c": 3}, dim=4)
    model = QNNalpha(feature_map, embedding_dim=4, **({"num_layers": 2, "num_row": 3} | kwargs), **BASE)
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.5)  # so that the quadratic terms count
    return model, make_batches(feature_map, 16, 1)[0]


@pytest.mark.parametrize("fast", [True, False])
def test_forward_is_the_written_out_network(fast):
    model, batch = small(fast=fast)
    tables = {
        name: table.weight.detach().double().numpy()
        for name, table in model.embedding_layer.embedding_layer.embedding_layers.items()
    }
    genres = tables["c"][batch["c"]].mean(axis=1)
    x = np.concatenate([tables["a"][batch["a"]], tables["b"][batch["b"]], genres], axis=1)
    for layer in model.network.layers:
        weight = layer.linear.weight.detach().double().numpy().reshape(3, 12, 12)
        bias = layer.linear.bias.detach().double().numpy().reshape(3, 12)
        h = np.maximum(np.einsum("mij,bj->bmi", weight, x) + bias, 0)
        x = x * h.sum(axis=1) + x
    logit = x @ model.fc.weight.detach().double().numpy().T + model.fc.bias.item()
    np.testing.assert_allclose(
        model.eval()(batch)["y_pred"].detach().numpy(), 1 / (1 + np.exp(-logit)), rtol=1e-5
    )


def test_training_returns_two_passes_and_evaluation_one():
    model, batch = small(net_dropout=0.5)
    outputs = model.train()(batch)
    assert set(outputs) == {"y_pred", "y_pred_1", "y_pred_2"}
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"])
    torch.testing.assert_close(outputs["y_pred"], (outputs["y_pred_1"] + outputs["y_pred_2"]) / 2)
    assert set(model.eval()(batch)) == {"y_pred"}
    assert torch.equal(model(batch)["y_pred"], model(batch)["y_pred"])


def test_without_self_ensemble_the_loss_is_the_configured_one():
    model, batch = small(self_ensemble=False)
    outputs, y = model.train()(batch), batch["label"].view(-1, 1)
    assert set(outputs) == {"y_pred"}
    p = outputs["y_pred"].detach().numpy()
    expected = -np.mean(y.numpy() * np.log(p) + (1 - y.numpy()) * np.log(1 - p))
    assert model.add_loss(outputs, y).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("consistency", ["se", "mse", "kl", "cosine", "huber"])
def test_every_consistency_loss_trains(consistency):
    model, batch = small(consistency=consistency, net_dropout=0.2)
    model.compile("adam", "binary_crossentropy", 1e-2)
    model._max_gradient_norm = 10.0
    model.train()
    losses = [model.train_step(batch).item() for _ in range(60)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02


def test_heads_need_one_embedding_dim_for_all_features():
    feature_map = make_feature_map({"a": 9, "b": 7, "c": 5}, dim=4)
    feature_map.features["a"]["embedding_dim"] = 6
    assert QNNalpha(feature_map, embedding_dim=4, num_heads=1, **BASE).fc.in_features == 14
    with pytest.raises(ValueError, match="not a multiple of num_fields=3.*same embedding_dim"):
        QNNalpha(feature_map, embedding_dim=4, num_heads=2, **BASE)


def test_regression_with_self_ensemble_is_refused():
    feature_map = make_feature_map({"a": 9}, dim=4)
    with pytest.raises(ValueError, match="set self_ensemble to false for regression"):
        QNNalpha(feature_map, embedding_dim=4, task="regression", **BASE)


def test_a_single_row_is_scored():
    model, batch = small(batch_norm=True)
    row = {name: values[:1] for name, values in batch.items()}
    assert model.eval()(row)["y_pred"].shape == (1, 1)
