"""DeepFM, xDeepFM and DCNv2 against their formulas in numpy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuxictr.pytorch.layers import CrossNetV2, FactorizationMachine

from fuxictr_qnn.models import DNN, FM, LR, DCNv2, DeepFM, xDeepFM
from tests.synthetic import BASE
from tests.written_out import (
    affine,
    check_model,
    cin,
    embeddings,
    linear_terms,
    mlp,
    pairs,
    randomised,
    three_features,
)

DEEPFM = {"hidden_units": [6, 5]}
XDEEPFM = {"dnn_hidden_units": [6, 5], "cin_hidden_units": [3, 2]}
UNITS = {"stacked_dnn_hidden_units": [6, 5], "parallel_dnn_hidden_units": [7, 4]}
STRUCTURES = ["crossnet_only", "stacked", "parallel", "stacked_parallel"]


def build(cls, feature_map, **kwargs):
    return randomised(cls(feature_map, embedding_dim=4, **kwargs, **BASE))


MODES = [(False, False), (True, False), (True, True)]  # batch norm, training


@pytest.mark.parametrize(("batch_norm", "training"), MODES)
def test_deepfm(batch_norm, training):
    feature_map, batch = three_features()

    def formula(w):
        e = embeddings(w, batch)
        fm = linear_terms(w, batch, "fm.lr_layer") + pairs(e)
        return fm + mlp(w, e.reshape(12, -1), "mlp.mlp", training)

    model = build(DeepFM, feature_map, batch_norm=batch_norm, **DEEPFM).train(training)
    check_model(model, batch, formula)


@pytest.mark.parametrize(("batch_norm", "training"), MODES)
def test_xdeepfm(batch_norm, training):
    feature_map, batch = three_features()

    def formula(w):
        e = embeddings(w, batch)
        explicit = linear_terms(w, batch, "lr_layer") + cin(w, e)
        return explicit + mlp(w, e.reshape(12, -1), "dnn.mlp", training)

    model = build(xDeepFM, feature_map, batch_norm=batch_norm, **XDEEPFM).train(training)
    check_model(model, batch, formula)


def test_xdeepfm_without_an_mlp_is_linear_terms_and_cin():
    feature_map, batch = three_features()
    model = build(xDeepFM, feature_map, dnn_hidden_units=[], cin_hidden_units=[3])
    check_model(model, batch, lambda w: linear_terms(w, batch, "lr_layer") + cin(w, embeddings(w, batch)))


def cross(w, x):
    out, layer = x, 0
    while f"crossnet.cross_layers.{layer}.weight" in w:
        out = x * affine(w, f"crossnet.cross_layers.{layer}", out) + out
        layer += 1
    return out


def low_rank_mixture(w, x):
    out, layer = x, 0
    while f"crossnet.bias.{layer}" in w:
        u, c, v = (w[f"crossnet.{name}_list.{layer}"] for name in "UCV")
        scores = np.concatenate([out @ w[f"crossnet.gating.{k}.weight"].T for k in range(len(u))], axis=1)
        gate = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        hidden = np.tanh(np.einsum("krs,bks->bkr", c, np.tanh(np.einsum("kdr,bd->bkr", v, out))))
        experts = np.einsum("kdr,bkr->bkd", u, hidden) + w[f"crossnet.bias.{layer}"][:, 0]
        out = x * np.einsum("bk,bkd->bd", gate, experts) + out
        layer += 1
    return out


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("network", [cross, low_rank_mixture])
def test_dcnv2(structure, network):
    feature_map, batch = three_features()

    def formula(w):
        x = embeddings(w, batch).reshape(12, -1)
        z = network(w, x)
        if structure.startswith("stacked"):
            z = mlp(w, z, "stacked_dnn.mlp", output=False)
        if structure.endswith("parallel"):
            z = np.concatenate([z, mlp(w, x, "parallel_dnn.mlp", output=False)], axis=1)
        return affine(w, "fc", z)

    kwargs = {"num_cross_layers": 2, "model_structure": structure, **UNITS}
    kwargs |= {"use_low_rank_mixture": network is low_rank_mixture, "low_rank": 2, "num_experts": 3}
    check_model(build(DCNv2, feature_map, **kwargs), batch, formula)


BACKBONES = {"DeepFM": (DeepFM, DEEPFM), "xDeepFM": (xDeepFM, XDEEPFM), "DCNv2": (DCNv2, UNITS)}


@pytest.mark.parametrize("name", BACKBONES)
def test_fuxictrs_layers_are_the_parts(name):
    feature_map, _ = three_features()
    cls, kwargs = BACKBONES[name]
    model = cls(feature_map, embedding_dim=4, **kwargs, **BASE)
    part = {"DeepFM": FactorizationMachine, "DCNv2": CrossNetV2}.get(name)
    assert part is None or any(type(module) is part for module in model.modules())
    # all weights of one width a value: the embeddings, and a scalar for linear terms
    ids = 9 + 7 + 5
    embedding_weights = sum(p.numel() for n, p in model.named_parameters() if "embedding_layers" in n)
    assert embedding_weights == ids * 4 + (0 if name == "DCNv2" else ids)


def test_numeric_features_are_scaled_vectors():
    feature_map, batch = three_features({"n": {"type": "numeric"}})
    model = build(DeepFM, feature_map, **DEEPFM).eval()
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    e = embeddings(w, batch)
    expected = linear_terms(w, batch, "fm.lr_layer") + pairs(e) + mlp(w, e.reshape(12, -1), "mlp.mlp")
    X = {name: batch[name] for name in "abcn"}
    np.testing.assert_allclose(model.logit(X).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    assert build(xDeepFM, feature_map, **XDEEPFM).logit(X).shape == (12, 1)


VECTOR = {"v": {"type": "embedding", "pretrain_dim": 6}}


@pytest.mark.parametrize("cls", [LR, FM, DeepFM, xDeepFM])
def test_a_linear_term_has_no_weights_for_given_vectors(cls):
    with pytest.raises(ValueError, match="no weights for a feature of type embedding: v; leave such"):
        cls(three_features(VECTOR)[0], embedding_dim=4, **BASE)


@pytest.mark.parametrize("cls", [FM, DeepFM, xDeepFM])
def test_products_of_fields_need_one_embedding_dim(cls):
    feature_map, _ = three_features()
    feature_map.features["b"]["embedding_dim"] = 6
    with pytest.raises(ValueError, match=r"all need one embedding_dim: 4 \(a\), 6 \(b\)"):
        cls(feature_map, embedding_dim=4, **BASE)


def test_dcnv2_takes_given_vectors_and_different_embedding_dims():
    feature_map, batch = three_features(VECTOR)
    feature_map.features["b"]["embedding_dim"] = 6
    model = build(DCNv2, feature_map, **UNITS)
    assert model(batch)["y_pred"].shape == (12, 1)
    assert model.crossnet.cross_layers[0].in_features == 4 + 6 + 4 + 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"model_structure": "paralel"}, r"unknown model_structure 'paralel'.*mean 'parallel'"),
        ({"model_structure": "stacked"}, "'stacked' needs stacked_dnn_hidden_units"),
        ({"parallel_dnn_hidden_units": []}, "'parallel' needs parallel_dnn_hidden_units"),
    ],
)
def test_dcnv2_refuses_half_a_structure(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DCNv2(three_features()[0], embedding_dim=4, **kwargs, **BASE)


def test_a_cin_needs_layers():
    with pytest.raises(ValueError, match="cin_hidden_units needs widths"):
        xDeepFM(three_features()[0], embedding_dim=4, cin_hidden_units=[], **BASE)


def test_a_single_row_is_scored_by_the_low_rank_mixture():
    feature_map, batch = three_features()
    model = build(DCNv2, feature_map, use_low_rank_mixture=True).eval()
    row = {name: values[:1] for name, values in batch.items()}
    torch.testing.assert_close(model(row)["y_pred"], model(batch)["y_pred"][:1])


@pytest.mark.parametrize("name", BACKBONES)
def test_self_ensemble_passes_share_what_has_no_dropout(name):
    feature_map, batch = three_features()
    cls, kwargs = BACKBONES[name]
    model = build(cls, feature_map, self_ensemble=True, net_dropout=0.5, **kwargs).train()
    calls = []
    once = {"DeepFM": "fm", "xDeepFM": "cin", "DCNv2": "crossnet"}[name]
    for part in ("embedding_layer", once):
        getattr(model, part).register_forward_hook(lambda *_, part=part: calls.append(part))
    outputs = model(batch)
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"])
    assert sorted(calls) == sorted(["embedding_layer", once])


def test_deepfm_is_its_parts():
    """Without the factorization machine's weights it is DNN, and with no hidden layer's it is FM."""
    feature_map, batch = three_features()
    model = build(DeepFM, feature_map, **DEEPFM).eval()
    dnn, fm = build(DNN, feature_map, **DEEPFM).eval(), build(FM, feature_map).eval()
    dnn.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("fm.")})
    fm.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("mlp.")})
    X = {name: batch[name] for name in "abc"}
    torch.testing.assert_close(model.logit(X), dnn.logit(X) + fm.logit(X))
