"""DCN, GDCN, ECN and DCNv3 against their formulas in numpy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import GatedCrossNet, MaskedCrossNet
from fuxictr_qnn.models import DCN, ECN, GDCN, DCNv3
from tests.shipped import expected_features, model_settings, trainable
from tests.synthetic import BASE
from tests.written_out import (
    affine,
    batch_norm,
    check_model,
    embeddings,
    layer_norm,
    mlp,
    randomised,
    relu,
    sigmoid,
    three_features,
)

MODES = [(False, False), (True, False), (True, True)]  # batch norm, training


def build(cls, feature_map, **kwargs):
    return randomised(cls(feature_map, embedding_dim=4, **kwargs, **BASE))


@pytest.mark.parametrize("hidden_units", [[6, 5], []])
def test_dcn(hidden_units):
    feature_map, batch = three_features()

    def formula(w):
        x = out = embeddings(w, batch).reshape(12, -1)
        for layer in range(3):
            weight = w[f"crossnet.cross_net.{layer}.weight.weight"]
            out = x * (out @ weight.T) + w[f"crossnet.cross_net.{layer}.bias"] + out
        if hidden_units:
            out = np.concatenate([out, mlp(w, x, "dnn.mlp", output=False)], axis=1)
        return affine(w, "fc", out)

    check_model(build(DCN, feature_map, dnn_hidden_units=hidden_units).eval(), batch, formula)


@pytest.mark.parametrize("structure", ["parallel", "stacked"])
def test_gdcn(structure):
    feature_map, batch = three_features()

    def formula(w):
        x = out = embeddings(w, batch).reshape(12, -1)
        for layer in range(2):
            gate = sigmoid(out @ w[f"cross_net.gates.{layer}.weight"].T)
            out = x * affine(w, f"cross_net.cross_layers.{layer}", out) * gate + out
        deep = mlp(w, out if structure == "stacked" else x, "dnn.mlp", output=False)
        return affine(w, "fc", deep if structure == "stacked" else np.concatenate([out, deep], axis=1))

    settings = {"model_structure": structure, "num_cross_layers": 2, "dnn_hidden_units": [6, 5]}
    check_model(build(GDCN, feature_map, **settings).eval(), batch, formula)


def views(w, batch):
    """(B, D): the first halves of the embeddings, then the second ones."""
    e = embeddings(w, batch)
    return np.concatenate([e[:, :, :2].reshape(12, -1), e[:, :, 2:].reshape(12, -1)], axis=1)


def masked_cross(w, x, name, exponential, training=False):
    out, layer = x, 0
    while f"{name}.cross_layers.{layer}.weight" in w:
        c = out @ w[f"{name}.cross_layers.{layer}.weight"].T
        c = batch_norm(w, f"{name}.norms.{layer}", c, training)
        inner = c
        if f"{name}.mask_norms.{layer}.weight" in w:
            gain, bias = (w[f"{name}.mask_norms.{layer}.{part}"] for part in ("weight", "bias"))
            inner = layer_norm(c, gain, bias)
        projected = np.concatenate([c, c * relu(inner)], axis=1) + w[f"{name}.biases.{layer}"]
        out = (out if exponential else x) * projected + out
        layer += 1
    return out


@pytest.mark.parametrize(("with_batch_norm", "training"), MODES)
@pytest.mark.parametrize("with_layer_norm", [True, False])
def test_ecn(with_layer_norm, with_batch_norm, training):
    feature_map, batch = three_features()
    settings = {"num_cross_layers": 2, "layer_norm": with_layer_norm, "batch_norm": with_batch_norm}
    model = build(ECN, feature_map, net_dropout=0.0, **settings).train(training)
    check_model(
        model,
        batch,
        lambda w: affine(w, "fc", masked_cross(w, views(w, batch), "cross_net", True, training)),
    )


def both_logits(w, batch):
    x = views(w, batch)
    deep = affine(w, "fc_deep", masked_cross(w, x, "ecn", True))
    return deep, affine(w, "fc_shallow", masked_cross(w, x, "lcn", False))


def test_dcnv3():
    feature_map, batch = three_features()
    model = build(DCNv3, feature_map, num_deep_cross_layers=2, num_shallow_cross_layers=3)
    check_model(model.eval(), batch, lambda w: sum(both_logits(w, batch)) / 2)


def test_networks_of_one_layer_are_one_network():
    """X_1 is both the input and what the first layer was given, so LCN and ECN differ from the second on."""
    torch.manual_seed(0)
    linear, exponential = MaskedCrossNet(8, 2, exponential=False), MaskedCrossNet(8, 2)
    exponential.load_state_dict(linear.state_dict())
    x = torch.randn(5, 8)
    assert not torch.allclose(linear(x), exponential(x))
    for network in (linear, exponential):
        del network.cross_layers[1], network.norms[1], network.mask_norms[1]
        network.biases = network.biases[:1]
    torch.testing.assert_close(linear(x), exponential(x))


def test_a_closed_gate_leaves_the_input():
    torch.manual_seed(0)
    network, x = GatedCrossNet(6, 2), torch.rand(5, 6) + 1
    for gate in network.gates:
        gate.weight.data.fill_(-40.0)
    torch.testing.assert_close(network(x), x)


@pytest.mark.parametrize(("layer_norm", "batch_norm"), [(False, False), (True, False), (True, True)])
def test_parameters_of_a_masked_cross_network(layer_norm, batch_norm):
    """A projection to one half, and a bias behind the mask that is no part of it and starts from U(0, 1)."""
    network = MaskedCrossNet(200, 3, layer_norm=layer_norm, batch_norm=batch_norm)
    assert trainable(network) == 3 * (200 * 100 + 200 * (1 + layer_norm + batch_norm))
    assert all(0 < bias.mean() - 0.4 < 0.2 and 0 <= bias.min() and bias.max() < 1 for bias in network.biases)


def test_dropout_is_between_the_layers():
    network = MaskedCrossNet(8, 1, dropout=0.5).train()
    dropped = network(torch.rand(200, 8) + 1) == 0
    assert 0.4 < dropped.float().mean() < 0.6


def test_dcnv3_has_the_published_number_of_parameters_on_criteo():
    """15.94 million, as the authors' log has it: two digits beside the embeddings."""
    feature_map = expected_features("criteo_x4")
    model = DCNv3(feature_map, **model_settings("DCNv3", "DCNv3_criteo"), **BASE)
    assert round(trainable(model) / 1e6, 2) == 15.94


@pytest.mark.parametrize("cls", [ECN, DCNv3])
def test_halves_of_embeddings(cls):
    feature_map, _ = three_features()
    feature_map.default_emb_dim = 5
    with pytest.raises(ValueError, match="halves embeddings, so embedding_dim must be even, got 5"):
        cls(feature_map, embedding_dim=5, **BASE)
    feature_map.features["b"]["embedding_dim"] = 6
    with pytest.raises(ValueError, match=r"all need one embedding_dim: 5 \(a\), 6 \(b\)"):
        cls(feature_map, embedding_dim=5, **BASE)


WRONG = [
    (DCN, {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
    (GDCN, {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
    (GDCN, {"dnn_hidden_units": []}, "dnn_hidden_units needs at least one width"),
    (GDCN, {"model_structure": "stackd"}, "unknown model_structure 'stackd'.*mean 'stacked'"),
    (ECN, {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
    (ECN, {"net_dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    (DCNv3, {"num_shallow_cross_layers": 0}, "num_shallow_cross_layers must be at least 1, got 0"),
]


@pytest.mark.parametrize(("cls", "kwargs", "words"), WRONG)
def test_refusals(cls, kwargs, words):
    with pytest.raises(ValueError, match=words):
        cls(three_features()[0], embedding_dim=4, **kwargs, **BASE)


@pytest.mark.parametrize("layer", [GatedCrossNet, MaskedCrossNet])
def test_a_cross_network_needs_layers(layer):
    with pytest.raises(ValueError, match="number of cross layers must be at least 1, got 0"):
        layer(8, 0)


@pytest.mark.parametrize("cls", [DCN, GDCN])
def test_self_ensemble_passes_share_the_cross_network(cls):
    feature_map, batch = three_features()
    model = build(cls, feature_map, self_ensemble=True, net_dropout=0.5).train()
    calls = []
    shared = model.crossnet if cls is DCN else model.cross_net
    for part in (model.embedding_layer, shared):
        part.register_forward_hook(lambda *_: calls.append(1))
    outputs = model(batch)
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"]) and len(calls) == 2
