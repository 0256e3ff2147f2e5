"""QNN: the published parameter total of every format, its stack, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import NEURON_FORMATS
from fuxictr_qnn.models import QNN
from tests.synthetic import BASE, make_batches, make_feature_map

# papers: total parameters on Criteo_x4 (910,747 values in 39 fields, E 16, 3 layers), without
# batch norm; five runs with post-activation had it, 3 * 2 * 624 parameters more.
D = 39 * 16
TOTALS = {
    "T1": 17_665_053,
    "T2": 17_634_753,
    "T3": 15_742_577,
    "T4": 15_742_577,
    "T5": 16_912_577,
    "T6": 17_665_053,
    "T7": 18_082_577,
    "T8": 18_082_577,
    "T9": 15_742_577,
    "T10": 16_912_577,
    "T11": 15_742_577,
    "T12": 16_327_577,
    "T13": 16_327_577,
    "T14": 15_742_577,
    "T15": 15_157_577,
    "T16": 16_912_577,
    "T17": 16_912_577,
    "T17_code": 16_912_577,
    "T18": 18_080_705,
    "T19": 15_742_577,
    "T20": 15_742_577,
    "T21": 15_742_577,
    "T22": 15_744_449,
    "T23": 16_912_577,
    "T24": 16_912_577,
    "T25": 15_743_513,
    "T26": 16_912_577,
    "T27": 16_912_577,
    "T28": 16_912_577,
    "T29": 16_912_577,
    "T30": 16_912_577,
}
WITH_BATCH_NORM = {"T3": 15_746_321, "T4": 15_746_321, "T5": 16_916_321, "T7": 18_086_321, "T8": 18_086_321}


def count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def on_criteo(**kwargs):
    """A model on 39 fields of 910,747 values; one field has nearly all, which the total does not mind."""
    vocabularies = {f"C{i}": 2 for i in range(38)} | {"C39": 910_747 - 76}
    return QNN(make_feature_map(vocabularies), embedding_dim=16, bilinear_dim=100, **kwargs, **BASE)


@pytest.mark.parametrize("name", NEURON_FORMATS)
def test_parameter_totals_are_the_published_ones(name):
    assert count(on_criteo(neuron_type=name)) == TOTALS[name]


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_parameter_totals_with_batch_norm(name):
    assert count(on_criteo(neuron_type=name, batch_norm=True)) == WITH_BATCH_NORM[name]


def small(**kwargs):
    torch.manual_seed(1)
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=4)
    model = QNN(feature_map, embedding_dim=4, **({"num_layers": 2} | kwargs), **BASE)
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.5)
    return model, make_batches(feature_map, 16, 1)[0]


@pytest.mark.parametrize("activation", ["ReLU", None, "None"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_forward_is_the_written_out_network(activation, batch_norm):
    model, batch = small(neuron_type="T9", hidden_activations=activation, batch_norm=batch_norm)
    tables = model.embedding_layer.embedding_layer.embedding_layers
    x = np.hstack([tables[name].weight.detach().double().numpy()[batch[name]] for name in "ab"])
    modules = [m for m in model.layers if not isinstance(m, torch.nn.Dropout)]
    for module in modules:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
            x = (x - module.running_mean.numpy()) / np.sqrt(module.running_var.numpy() + module.eps)
        elif isinstance(module, torch.nn.ReLU):
            x = np.maximum(x, 0)
        else:
            linear = module.projections[0]
            x = x * (x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()) + x
    assert len(modules) == 2 * (1 + batch_norm + (activation == "ReLU"))
    logit = x @ model.fc.weight.detach().numpy().T + model.fc.bias.item()
    np.testing.assert_allclose(
        model.eval()(batch)["y_pred"].detach().numpy(), 1 / (1 + np.exp(-logit)), rtol=1e-4
    )


def test_only_formats_with_a_bilinear_form_are_compressed():
    assert small(neuron_type="T1", bilinear_dim=6)[0].fc.in_features == 6
    assert small(neuron_type="T1")[0].fc.in_features == 8
    assert small(neuron_type="T5", bilinear_dim=6)[0].fc.in_features == 8


def test_wrong_arguments_are_refused_in_plain_words():
    with pytest.raises(ValueError, match="unknown neuron_type 'T31'.*Did you mean 'T3'"):
        small(neuron_type="T31")
    with pytest.raises(ValueError, match="hidden_activations: 'Relu6' is no activation"):
        small(hidden_activations="Relu6")
    with pytest.raises(ValueError, match="num_layers must be at least 1"):
        small(num_layers=0)
    feature_map = make_feature_map({"a": 9}, dim=5)
    with pytest.raises(ValueError, match="T14 .* whose width 5 is odd: choose an even embedding_dim"):
        QNN(feature_map, embedding_dim=5, neuron_type="T14", **BASE)
