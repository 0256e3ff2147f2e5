"""LR, FM and DNN against their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.models import DNN, FM, LR
from tests.synthetic import BASE, make_batches, make_feature_map

VOCABULARIES, SEQUENCES = {"a": 9, "b": 7, "c": 5}, {"c": 3}


@pytest.fixture
def setting():
    torch.manual_seed(2)
    feature_map = make_feature_map(VOCABULARIES, SEQUENCES, dim=4)
    return feature_map, make_batches(feature_map, 12, 1)[0]


def randomised(model):
    for parameter in model.parameters():
        parameter.data.normal_(std=0.4)
    return model.eval()


def tables(module):
    return {n: t.weight.detach().double().numpy() for n, t in module.embedding_layer.embedding_layers.items()}


def probability(model, batch):
    return model(batch)["y_pred"].detach().numpy()


def linear_term(layer, batch):
    """b + sum of one weight a value; the values of a sequence add up, its padding counts nothing."""
    weights = tables(layer.embedding_layer)
    total = layer.bias.item() + weights["a"][batch["a"]] + weights["b"][batch["b"]]
    return total + weights["c"][batch["c"]].sum(axis=1)


def embeddings(layer, batch):
    weights = tables(layer)
    return np.stack(
        [weights["a"][batch["a"]], weights["b"][batch["b"]], weights["c"][batch["c"]].mean(axis=1)], 1
    )


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def test_lr(setting):
    feature_map, batch = setting
    model = randomised(LR(feature_map, **BASE))
    np.testing.assert_allclose(
        probability(model, batch), sigmoid(linear_term(model.lr_layer, batch)), rtol=1e-5
    )


def test_fm(setting):
    feature_map, batch = setting
    model = randomised(FM(feature_map, embedding_dim=4, **BASE))
    e = embeddings(model.embedding_layer, batch)
    pairs = sum((e[:, f] * e[:, g]).sum(1, keepdims=True) for f in range(3) for g in range(f + 1, 3))
    expected = sigmoid(linear_term(model.fm.lr_layer, batch) + pairs)
    np.testing.assert_allclose(probability(model, batch), expected, rtol=1e-5)


def test_dnn(setting):
    feature_map, batch = setting
    model = randomised(DNN(feature_map, embedding_dim=4, hidden_units=[6, 5], **BASE))
    h = embeddings(model.embedding_layer, batch).reshape(12, -1)
    linears = [m for m in model.mlp.mlp if isinstance(m, torch.nn.Linear)]
    for i, linear in enumerate(linears):
        h = h @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
        h = np.maximum(h, 0) if i < 2 else h
    np.testing.assert_allclose(probability(model, batch), sigmoid(h), rtol=1e-5)


def test_dnn_has_the_papers_parameters_on_criteo_widths():
    """400-400-400 on 39 fields of 16: 571,201 beside the embeddings (15,143,153 in all)."""
    feature_map = make_feature_map({f"f{i}": 3 for i in range(39)})
    model = DNN(feature_map, embedding_dim=16, hidden_units=[400, 400, 400], **BASE)
    beside = sum(p.numel() for n, p in model.named_parameters() if "embedding" not in n)
    assert beside == 15_143_153 - 14_571_952


@pytest.mark.parametrize("cls", [LR, FM])
def test_regularizer_sets_both(setting, cls):
    model = cls(setting[0], regularizer=1e-3, **BASE)
    assert model._embedding_regularizer == model._net_regularizer == 1e-3
