"""QNNalpha: published parameter totals, its forward pass, and what its loss is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.models import QNNalpha
from tests.synthetic import BASE, make_batches, make_feature_map
from tests.vocabularies import CRITEO, FRAPPE, IPINYOU, ML_1M, SEQUENCES, TENREC

# The released logs, by run: vocabularies, L, M, H, batch norm, total.
PUBLISHED = {
    "Criteo_001": (CRITEO, 4, 5, 1, False, 22_372_577),
    "Criteo_002": (CRITEO, 4, 6, 1, False, 23_932_577),
    "Criteo_016": (CRITEO, 4, 4, 1, False, 20_812_577),
    "Criteo_no_tuning": (CRITEO, 3, 2, 1, False, 16_912_577),
    "Tenrec_004": (TENREC, 2, 10, 1, True, 55_646_577),
    "ML_1M_015": (ML_1M, 1, 4, 4, True, 207_649),
    "Frappe_045": (FRAPPE, 2, 13, 1, True, 764_369),
    "iPinYou_035": (IPINYOU, 4, 2, 4, True, 11_182_929),
}


@pytest.mark.parametrize("run", PUBLISHED)
def test_parameter_totals_are_the_published_ones(run):
    vocabularies, layers, rows, heads, batch_norm, total = PUBLISHED[run]
    sequences = {name: length for name, length in SEQUENCES.items() if name in vocabularies}
    model = QNNalpha(
        make_feature_map(vocabularies, sequences),
        embedding_dim=16,
        num_layers=layers,
        num_row=rows,
        num_heads=heads,
        batch_norm=batch_norm,
        **BASE,
    )
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == total


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
