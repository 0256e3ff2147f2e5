"""The losses of DCNv3 and FinalNet: written out, with weights of rows, under the self-ensemble loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.layers import SelfEnsembleLoss
from fuxictr_qnn.models import DCNv3, FinalNet
from fuxictr_qnn.models.finalnet import FactorizedInteraction
from fuxictr_qnn.models.registry import model_class
from fuxictr_qnn.models.self_ensemble import own_loss_of
from fuxictr_qnn.training.setup import build_model
from fuxictr_qnn.training.step import TrainStep
from tests.synthetic import BASE, make_batches, make_feature_map
from tests.written_out import check_gradients, randomised

SETTINGS = {
    DCNv3: {"deep_net_dropout": 0.3, "shallow_net_dropout": 0.3},
    FinalNet: {"block1_hidden_units": [6, 4], "block2_hidden_units": [6, 4], "block1_dropout": 0.3},
}


def build(cls, **kwargs):
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=4)
    settings = SETTINGS[cls] | {"embedding_dim": 4} | kwargs
    return randomised(cls(feature_map, **settings, **BASE)).double().train()


BATCH = make_batches(make_feature_map({"a": 9, "b": 7}, dim=4), 24, 1)[0]
Y = BATCH["label"].view(-1, 1).double().numpy()


def cross_entropy(p, q, weight=None):
    losses = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


def tri_bce(p, parts, weight=None):
    together = cross_entropy(p, Y, weight)
    alone = [cross_entropy(part, Y, weight) for part in parts]
    return sum(loss * (loss - together) for loss in alone if loss.real > together.real)


def distillation(p, parts, weight=None):
    return sum(cross_entropy(part, np.array(p.real), weight) for part in parts)


EXTRA = {DCNv3: tri_bce, FinalNet: distillation}
CLASSES = list(EXTRA)


def as_numpy(*tensors):
    return [tensor.detach().double().numpy() for tensor in tensors]


@pytest.mark.parametrize("cls", CLASSES)
def test_the_loss_and_its_gradient(cls):
    """As a function of both logits; what FinalNet's networks learn from is no function of them."""
    model = build(cls)
    generator = np.random.default_rng(1)
    inputs = {name: torch.from_numpy(generator.normal(size=(24, 1))).requires_grad_() for name in "ds"}
    p, parts = torch.sigmoid((inputs["d"] + inputs["s"]) / 2), [inputs[name].sigmoid() for name in "ds"]
    outputs = {"y_pred": p, "branches": torch.stack(parts)[None]}
    loss = model.add_loss(outputs, torch.from_numpy(Y))

    def formula(z):
        d, s = z["d"], z["s"]
        p = 1 / (1 + np.exp(-(d + s) / 2))
        return cross_entropy(p, Y) + EXTRA[cls](p, [1 / (1 + np.exp(-part)) for part in (d, s)])

    expected = formula({name: tensor.detach().numpy() for name, tensor in inputs.items()})
    assert expected.real > cross_entropy(p.detach().numpy(), Y) + 1e-3
    np.testing.assert_allclose(loss.item(), expected.real, rtol=1e-12)
    check_gradients(loss, inputs, formula)


def test_detached_weights_change_the_gradient_and_not_the_loss():
    outcomes = []
    for detach_weights in (False, True):
        model = build(DCNv3, detach_weights=detach_weights, deep_net_dropout=0.0, shallow_net_dropout=0.0)
        loss = model.add_loss(model(BATCH), torch.from_numpy(Y))
        outcomes.append((loss.item(), torch.autograd.grad(loss, model.fc_deep.weight)[0]))
    (loss, slope), (same, other) = outcomes
    assert loss == same and not torch.allclose(slope, other)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("weight", [None, np.linspace(0.1, 3, 24)[:, None]])
@pytest.mark.parametrize("self_ensemble", [False, True])
def test_outputs_and_loss_in_training(cls, weight, self_ensemble):
    model = build(cls, self_ensemble=self_ensemble)
    outputs = model(BATCH)
    keys = ("y_pred_1", "y_pred_2") if self_ensemble else ("y_pred",)
    passes = as_numpy(*(outputs[key] for key in keys))
    branches = outputs["branches"].detach().numpy()
    assert branches.shape == (len(keys), 2, 24, 1)
    for p, (first, second) in zip(passes, branches, strict=True):
        logits = np.log([first / (1 - first), second / (1 - second)])
        np.testing.assert_allclose(np.log(p / (1 - p)), logits.mean(axis=0), atol=1e-10)
    extra = np.mean([EXTRA[cls](p, parts, weight) for p, parts in zip(passes, branches, strict=True)])
    given, tensor = dict(outputs), torch.from_numpy(Y)
    if weight is not None:
        given["row_weight"] = torch.from_numpy(weight)
    expected = cross_entropy(outputs["y_pred"].detach().numpy(), Y, weight)
    if self_ensemble:
        p1, p2 = (outputs[key] for key in keys)
        assert not torch.equal(p1, p2)
        expected = SelfEnsembleLoss()(p1, p2, tensor, given.get("row_weight")).item()
    assert extra > 0
    np.testing.assert_allclose(model.add_loss(given, tensor).item(), expected + extra, rtol=1e-10)
    assert set(model.eval()(BATCH)) == {"y_pred"}


@pytest.mark.parametrize(("cls", "off"), [(DCNv3, {"tri_bce": False}), (FinalNet, {"block_type": "1B"})])
def test_without_it_the_loss_is_the_plain_one(cls, off):
    model = build(cls, **off)
    outputs = model(BATCH)
    plain = cross_entropy(outputs["y_pred"].detach().numpy(), Y)
    np.testing.assert_allclose(model.add_loss(outputs, torch.from_numpy(Y)).item(), plain, rtol=1e-12)


@pytest.mark.parametrize("cls", CLASSES)
def test_at_evaluation_the_loss_is_that_of_the_prediction(cls):
    model = build(cls).eval()
    outputs = model(BATCH)
    plain = cross_entropy(outputs["y_pred"].detach().numpy(), Y)
    np.testing.assert_allclose(model.add_loss(outputs, torch.from_numpy(Y)).item(), plain, rtol=1e-12)


def test_each_network_takes_its_own_keys():
    """The formulas above read the depths off the weights, and know no dropout."""
    keys = {"num_deep_cross_layers": 2, "num_shallow_cross_layers": 3, "shallow_net_dropout": 0.2}
    model = build(DCNv3, **keys)
    assert [len(network.cross_layers) for network in (model.ecn, model.lcn)] == [2, 3]
    assert [network.exponential for network in (model.ecn, model.lcn)] == [True, False]
    assert [network.dropout.p for network in (model.ecn, model.lcn)] == [0.3, 0.2]

    model = build(FinalNet, block2_hidden_units=[8], block2_dropout=0.2)
    for block, widths, dropout in ((model.block1, [6, 4], 0.3), (model.block2, [8], 0.2)):
        layers = [layer for layer in block if isinstance(layer, FactorizedInteraction)]
        assert [layer.linear.out_features for layer in layers] == widths
        assert {layer.p for layer in block if isinstance(layer, torch.nn.Dropout)} == {dropout}


@pytest.mark.parametrize("name", ["DCNv3", "FinalNet"])
def test_it_is_what_a_step_optimises(name):
    """The step of our fit loop lowers exactly this loss, weights of rows included."""
    experiment = load_experiment(
        f"{name}_demo", None, ["embedding_regularizer=0", "embedding_dim=4"]
    ).experiment
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=4)
    feature_map.weight_col = "w"
    model = randomised(build_model(experiment, feature_map, -1, "unused")).train()
    assert own_loss_of(model) == []
    batch = BATCH | {"w": torch.linspace(0.1, 3, 24)}
    torch.manual_seed(3)
    outputs = model(BATCH)
    expected = model.add_loss({**outputs, "row_weight": batch["w"].view(-1, 1)}, model.get_labels(BATCH))
    torch.manual_seed(3)
    assert TrainStep(model, experiment.fit)([batch]).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_loss_that_knows_no_weights_is_still_refused():
    class Forgetful(DCNv3):
        def add_loss(self, return_dict, y_true):
            return super().add_loss(return_dict, y_true)

    model = Forgetful(make_feature_map({"a": 9, "b": 7}, dim=4), embedding_dim=4, **BASE)
    assert own_loss_of(model) == ["add_loss"]


def test_the_authors_later_name():
    assert model_class("FCN", {"self_ensemble": True}) is DCNv3
