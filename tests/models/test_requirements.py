"""What models refuse before they build a layer."""

from __future__ import annotations

import pytest
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn import models
from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models import registry
from fuxictr_qnn.training.setup import build_model
from tests.synthetic import BASE, make_feature_map, make_item_feature_map

# model -> the keys of its activations and of the layers that they follow
ACTIVATIONS = {
    "DNN": [("hidden_activations", "hidden_units")],
    "DeepFM": [("hidden_activations", "hidden_units")],
    "xDeepFM": [("dnn_activations", "dnn_hidden_units")],
    "DCNv2": [("dnn_activations", "parallel_dnn_hidden_units")],
    "WideDeep": [("hidden_activations", "hidden_units")],
    "PNN": [("hidden_activations", "hidden_units")],
    "DCN": [("dnn_activations", "dnn_hidden_units")],
    "GDCN": [("dnn_activations", "dnn_hidden_units")],
    "AutoInt": [("dnn_activations", "dnn_hidden_units")],
    "FinalMLP": [
        ("mlp1_hidden_activations", "mlp1_hidden_units"),
        ("mlp2_hidden_activations", "mlp2_hidden_units"),
    ],
    "QNNalpha_MLP": [("hidden_activations", "hidden_units")],
    "DIN": [
        ("dnn_activations", "dnn_hidden_units"),
        ("attention_hidden_activations", "attention_hidden_units"),
    ],
    "TransformerDCN": [("dnn_activations", "dnn_hidden_units")],
}
PAIRS = [(name, *keys) for name, pairs in ACTIVATIONS.items() for keys in pairs]


@pytest.mark.parametrize(("name", "activations", "units"), PAIRS)
def test_activations_are_names_one_or_one_a_layer(name, activations, units):
    cls = getattr(models, name)
    reads_items = cls.reads_item_table
    feature_map = make_item_feature_map(dim=4) if reads_items else make_feature_map({"a": 9, "b": 7}, dim=4)

    def build(value):
        return cls(feature_map, embedding_dim=4, **{activations: value, units: [6, 5]}, **BASE)

    for right in ("Tanh", ["ReLU", "PReLU"], ["Dice", None], None):
        build(right)
    with pytest.raises(ValueError, match=f"{activations}: 'Relu6' is no activation"):
        build("Relu6")
    with pytest.raises(ValueError, match=f"{activations}: 'Linear' is no activation"):
        build(["ReLU", "Linear"])
    with pytest.raises(ValueError, match=f"{activations} lists 3 activations for 2 layers"):
        build(["ReLU"] * 3)


class Elsewhere(BaseModel):
    """A class that has never heard of item tables."""


class WithTable(BaseModel):
    reads_item_table = True


def test_a_class_from_elsewhere_gets_an_item_table_only_if_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", {cls.__name__: cls for cls in (Elsewhere, WithTable)})
    feature_map = make_item_feature_map(dim=4)

    def build(name):
        return build_model(
            load_experiment("DIN_planted", None, [f"model={name}"]).experiment, feature_map, -1, tmp_path
        )

    assert isinstance(build("WithTable"), WithTable)
    with pytest.raises(RequestError, match="Elsewhere looks nothing up in the item table, where item_tags"):
        build("Elsewhere")


class Failing(BaseModel):
    def __init__(self, feature_map, **kwargs):
        raise AssertionError


def test_a_constructor_that_fails_without_a_word_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_registered", {"Failing": Failing})
    experiment = load_experiment("DNN_demo", None, ["model=Failing"]).experiment
    with pytest.raises(RequestError, match="DNN_demo: Failing cannot be built: AssertionError"):
        build_model(experiment, make_feature_map({"a": 9}), -1, tmp_path)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("DNN", {"hidden_units": [8, 0]}, r"width of a hidden layer must be at least 1, got \[8, 0\]"),
        ("xDeepFM", {"cin_hidden_units": [0]}, r"cin_hidden_units needs widths of at least 1, got \[0\]"),
        ("DCNv2", {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
        ("TransformerDCN", {"feedforward_dim": 0}, "feedforward_dim must be at least 1, got 0"),
        ("TransformerDCN", {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
    ],
)
def test_layers_without_width(name, params, words):
    cls = getattr(models, name)
    items = make_item_feature_map(dim=4) if cls.reads_item_table else make_feature_map({"a": 9}, dim=4)
    with pytest.raises(ValueError, match=words):
        cls(items, embedding_dim=4, **params, **BASE)


@pytest.mark.parametrize(("expid", "key"), [("QNN_demo", "neuron_type"), ("DCNv2_demo", "model_structure")])
def test_a_list_is_no_name(expid, key):
    with pytest.raises(RequestError, match=f"{key} = .*expected text"):
        load_experiment(expid, overrides=[f"{key}=[a]"])
