"""What models refuse before they build a layer."""

from __future__ import annotations

import pytest
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn import models
from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models import registry
from fuxictr_qnn.models.registry import OWN_MODELS, constructor_keys
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
    for other in ("Module", "BCELoss", "GLU"):  # modules of torch.nn that make no layer's output of it
        with pytest.raises(ValueError, match=f"{activations}: '{other}' is no activation"):
            build(other)
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
        ("DCNv2", {"use_low_rank_mixture": True, "low_rank": 0}, "low_rank must be at least 1, got 0"),
        ("DCNv2", {"use_low_rank_mixture": True, "num_experts": 0}, "num_experts must be at least 1, got 0"),
        ("QIN", {"network": "mlp", "mlp_hidden_units": [8, 0]}, "mlp_hidden_units: the width of a hidden"),
        ("DIN", {"attention_output_activation": "Relu6"}, "attention_output_activation: 'Relu6' is no act"),
        ("TransformerDCN", {"feedforward_dim": 0}, "feedforward_dim must be at least 1, got 0"),
        ("TransformerDCN", {"num_cross_layers": 0}, "num_cross_layers must be at least 1, got 0"),
    ],
)
def test_layers_without_width(name, params, words):
    with pytest.raises(ValueError, match=words):
        build_small(name, **params)


def build_small(name, **params):
    cls = getattr(models, name)
    features = (
        make_item_feature_map(dim=4) if cls.reads_item_table else make_feature_map({"a": 9, "b": 7}, dim=4)
    )
    return cls(features, embedding_dim=4, **params, **BASE)


DROPOUTS = [
    (name, key)
    for name in sorted(OWN_MODELS)
    for key in sorted(constructor_keys(getattr(models, name))[0])
    if key.endswith("dropout")
]


@pytest.mark.parametrize(("name", "key"), DROPOUTS)
def test_dropout_is_a_probability_below_1(name, key):
    """FuxiCTR's MLP takes a negative one for none, and torch takes 1, which leaves nothing to learn from."""
    build_small(name, **{key: 0.0})
    for wrong in (-0.1, 1.0, [0.1]):
        with pytest.raises(ValueError, match=rf"{key} must be in \[0, 1\), got"):
            build_small(name, **{key: wrong})


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("hidden_units=64", "hidden_units = 64: expected a list"),
        ("hidden_units=null", "hidden_units = None: expected a list"),
        ("embedding_dim=null", "embedding_dim = None: expected a whole number"),
    ],
)
def test_a_wrong_type_is_refused_by_its_key(setting, words):
    with pytest.raises(RequestError, match=words):
        load_experiment("DNN_demo", None, [setting])


@pytest.mark.parametrize(("expid", "key"), [("QNN_demo", "neuron_type"), ("DCNv2_demo", "model_structure")])
def test_a_list_is_no_name(expid, key):
    with pytest.raises(RequestError, match=f"{key} = .*expected text"):
        load_experiment(expid, overrides=[f"{key}=[a]"])
