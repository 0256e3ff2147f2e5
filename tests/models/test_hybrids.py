"""QNN-alpha in DeepFM, xDeepFM and DCNv2 and beside an MLP: published totals, formulas, passes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import yaml

from fuxictr_qnn import models, paths
from fuxictr_qnn.models.registry import ALIASES, constructor_keys, find_model
from tests.shipped import expected_features, expid_settings, model_settings, trainable
from tests.synthetic import BASE
from tests.written_out import (
    affine,
    batch_norm,
    check_model,
    cin,
    embeddings,
    linear_terms,
    mlp,
    pairs,
    quadratic,
    randomised,
    relu,
    three_features,
)

# Small settings of each hybrid; E = 4, so that two heads divide it.
SIZES = {"embedding_dim": 4, "num_layers": 2, "num_row": 3, "num_heads": 2}
OWN = {
    "QNNalpha_DeepFM": {},
    "QNNalpha_xDeepFM": {"cin_hidden_units": [3, 2]},
    "QNNalpha_DCNv2": {"num_cross_layers": 2},
    "QNNalpha_MLP": {"hidden_units": [6, 5]},
}


def build(name, feature_map, **kwargs):
    return randomised(getattr(models, name)(feature_map, **(SIZES | OWN[name] | kwargs), **BASE))


# The totals of the authors' logs, for the expids that we ship (on the authors' data).
PUBLISHED = {
    "QNNalpha_DCNv2_ml1m": 233_521,
    "QNNalpha_DeepFM_ml1m": 217_401,
    "QNNalpha_xDeepFM_ml1m": 219_033,
    "QNNalpha_DCNv2_frappe": 894_929,
    "QNNalpha_DeepFM_frappe": 717_593,
    "QNNalpha_xDeepFM_frappe": 530_489,
    "QNNalpha_DeepFM_ipinyou": 11_848_695,
    "QNNalpha_xDeepFM_ipinyou": 11_608_183,
}


@pytest.mark.parametrize("expid", PUBLISHED)
def test_parameter_totals_are_the_published_ones(expid):
    name = expid.rpartition("_")[0]
    dataset_id = expid_settings(name, expid)["dataset_id"]
    features = expected_features({"ipinyou_x1": "ipinyou_x1_parity"}.get(dataset_id, dataset_id))
    assert trainable(find_model(name)(features, **model_settings(name, expid), **BASE)) == PUBLISHED[expid]


def test_the_seed_of_the_published_deepfm_on_frappe_is_another():
    text = (paths.shipped("model_zoo") / "QNNalpha_DeepFM" / "model_config.yaml").read_text()
    config = yaml.safe_load(text)
    assert config["Base"]["seed"] == 2024 and config["QNNalpha_DeepFM_frappe"]["seed"] == 2023


class Formulas:
    """The logit of each hybrid, from its weights."""

    def __init__(self, batch, plain: bool, training: bool):
        self.batch, self.plain, self.training = batch, plain, training

    def parts(self, w):
        e = embeddings(w, self.batch)
        x = e.reshape(len(e), -1)
        return e, x, quadratic(w, x, rows=3, heads=2, fields=3, training=self.training)

    def QNNalpha_DeepFM(self, w):
        e, _, q = self.parts(w)
        fm = linear_terms(w, self.batch, "fm.lr_layer") + pairs(e)
        return (1.0 if self.plain else 0.5) * fm + affine(w, "fc", q)

    def QNNalpha_xDeepFM(self, w):
        e, _, q = self.parts(w)
        return linear_terms(w, self.batch, "lr_layer") + cin(w, e) + affine(w, "fc", q)

    def QNNalpha_DCNv2(self, w):
        _, x, q = self.parts(w)
        cross = x
        for layer in range(2):
            z = affine(w, f"cross_net.cross_layers.{layer}", cross)
            if not self.plain:
                z = relu(batch_norm(w, f"cross_net.norms.{layer}", z, self.training))
            cross = x * z + cross
        return affine(w, "fc", np.concatenate([cross, q], axis=1))

    def QNNalpha_MLP(self, w):
        _, x, q = self.parts(w)
        return affine(w, "fc", q) + mlp(w, x, "mlp.mlp", self.training)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("with_bn", "training"), [(False, False), (True, False), (True, True)])
def test_logit_is_the_formula(name, fast, with_bn, training):
    feature_map, batch = three_features()
    model = build(name, feature_map, batch_norm=with_bn, net_dropout=0.0, fast=fast).train(training)
    check_model(model, batch, getattr(Formulas(batch, False, training), name))


@pytest.mark.parametrize("name", ["QNNalpha_DeepFM", "QNNalpha_DCNv2"])
def test_plain_backbone_is_the_backbones_own(name):
    feature_map, batch = three_features()
    model = build(name, feature_map, plain_backbone=True, batch_norm=True).eval()
    check_model(model, batch, getattr(Formulas(batch, True, False), name))


def test_the_plain_cross_network_has_neither_batch_norm_nor_dropout():
    feature_map, _ = three_features()
    plain = build("QNNalpha_DCNv2", feature_map, plain_backbone=True, batch_norm=True, net_dropout=0.3)
    parity = build("QNNalpha_DCNv2", feature_map, batch_norm=True, net_dropout=0.3)
    extra = {n for n, _ in parity.named_parameters()} - {n for n, _ in plain.named_parameters()}
    assert extra == {f"cross_net.norms.{i}.{p}" for i in range(2) for p in ("weight", "bias")}
    assert (plain.cross_net.dropout.p, parity.cross_net.dropout.p) == (0.0, 0.3)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("with_bn", [False, True])
def test_two_passes_are_two_single_ones_where_nothing_is_dropped(name, with_bn):
    feature_map, batch = three_features()
    X = {feature: batch[feature] for feature in "abc"}
    together, apart = (
        build(name, feature_map, net_dropout=0.0, batch_norm=with_bn).double().train() for _ in range(2)
    )
    passes = together.logits(X, 2)
    single = [apart.logit(X) for _ in range(2)]
    for ours, theirs in zip(passes, single, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    # the running statistics have moved twice, too
    torch.testing.assert_close(together.state_dict(), apart.state_dict(), rtol=1e-10, atol=1e-12)


# What each hybrid computes once for both passes, and what twice.
WORK = {
    "QNNalpha_DeepFM": (["embedding_layer", "fm"], []),
    "QNNalpha_xDeepFM": (["embedding_layer", "lr_layer", "cin"], []),
    "QNNalpha_DCNv2": (["embedding_layer"], ["cross_net"]),
    "QNNalpha_MLP": (["embedding_layer"], ["mlp"]),
}


@pytest.mark.parametrize("name", OWN)
def test_training_makes_two_passes_and_shares_what_has_no_dropout(name):
    feature_map, batch = three_features()
    model = build(name, feature_map, net_dropout=0.5).train()
    calls = []
    once, twice = WORK[name]
    for part in once + twice:
        getattr(model, part).register_forward_hook(lambda *_, part=part: calls.append(part))
    outputs = model(batch)
    assert sorted(calls) == sorted(once + 2 * twice)
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"])
    torch.testing.assert_close(outputs["y_pred"], (outputs["y_pred_1"] + outputs["y_pred_2"]) / 2)

    loss = model.add_loss(outputs, model.get_labels(batch))
    torch.testing.assert_close(
        loss, model.self_ensemble_loss(outputs["y_pred_1"], outputs["y_pred_2"], model.get_labels(batch))
    )
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []
    assert set(model.eval()(batch)) == {"y_pred"}
    assert torch.equal(model(batch)["y_pred"], model(batch)["y_pred"])


@pytest.mark.parametrize("name", OWN)
def test_without_self_ensemble_there_is_one_pass(name):
    feature_map, batch = three_features()
    assert set(build(name, feature_map, self_ensemble=False).train()(batch)) == {"y_pred"}


VECTOR = {"v": {"type": "embedding", "pretrain_dim": 6}}


@pytest.mark.parametrize("name", ["QNNalpha_DeepFM", "QNNalpha_xDeepFM"])
def test_products_of_fields_refuse_what_they_cannot_take(name):
    with pytest.raises(ValueError, match="no weights for a feature of type embedding: v"):
        build(name, three_features(VECTOR)[0])
    feature_map, _ = three_features()
    feature_map.features["b"]["embedding_dim"] = 6
    with pytest.raises(ValueError, match="all need one embedding_dim"):
        build(name, feature_map, num_heads=1)


def test_no_cross_layers_are_refused():
    with pytest.raises(ValueError, match="number of cross layers must be at least 1"):
        build("QNNalpha_DCNv2", three_features()[0], num_cross_layers=0)


@pytest.mark.parametrize("name", OWN)
def test_the_authors_names_and_keys_work(name):
    assert ALIASES[name.replace("QNNalpha", "QNN_T26")] == name
    keys = constructor_keys(find_model(name.replace("QNNalpha", "QNN_T26")))[0]
    assert {"num_layers", "num_row", "num_heads", "net_dropout", "batch_norm"} | set(OWN[name]) <= keys
    assert inspect.signature(getattr(models, name)).parameters["learning_rate"].default == 1e-3
