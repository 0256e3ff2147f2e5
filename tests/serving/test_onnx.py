"""Every registered model as an ONNX file: onnxruntime predicts what the model does, whatever the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel
from torch import nn

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.registry import OWN_MODELS
from fuxictr_qnn.serving import onnx
from fuxictr_qnn.serving.fields import columns_of
from fuxictr_qnn.serving.graph import Served
from fuxictr_qnn.serving.trial_rows import made_up
from tests.models.test_conformance import build, features_for, spread_out
from tests.synthetic import BASE, make_feature_map, sequence_spec, vector_spec

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

QUICK = {"QNNalpha", "QIN"}  # torch's exporter takes seconds a model, whatever its size
ALL_MODELS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(OWN_MODELS)
]
ROWS = 64


def settled(model: nn.Module) -> nn.Module:
    """As after training: running statistics that are nothing special, embeddings far from 0."""
    generator = torch.Generator().manual_seed(5)
    for module in spread_out(model).modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(std=0.05, generator=generator)
            module.running_var.uniform_(0.01, 0.1, generator=generator)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(std=0.1, generator=generator)
    return model.eval()


def predictions(model: nn.Module, served: Served, matrices: dict[str, np.ndarray]) -> np.ndarray:
    tensors = {name: torch.from_numpy(matrix) for name, matrix in matrices.items()}
    with torch.no_grad():
        return model(columns_of(tensors, served.fields))["y_pred"].view(-1).numpy()


def exported(model: nn.Module, folder: Path, rate: float | None = None) -> tuple[Served, Any]:
    served = Served(model, rate)
    onnx.write_onnx(served, folder / "model.onnx", {"expid": "a"})
    return served, onnx.session(folder / "model.onnx", threads=1)


def check_export(model: nn.Module, folder: Path) -> Served:
    served, session = exported(model, folder)
    matrices = made_up(model.feature_map, served.fields, ROWS)
    matrices["ids"][1] = 0  # nothing but padding
    expected = predictions(model, served, matrices)
    assert expected.std() > 1e-3
    for rows in (1, 2, 3, ROWS):
        found = onnx.run(session, {name: matrix[:rows] for name, matrix in matrices.items()})
        assert found.shape == (rows,) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected[:rows], rtol=0, atol=1e-5)
    return served


def operators(file: Path) -> list[str]:
    import onnx as package

    return [node.op_type for node in package.load(file).graph.node]


@pytest.mark.parametrize("name", ALL_MODELS)
def test_onnxruntime_predicts_what_the_model_predicts(name: str, tmp_path: Path):
    torch.manual_seed(1)
    check_export(settled(build(features_for(name), name)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, params",
    [
        ("QNNalpha", {"head_layout": "block", "num_heads": 2, "batch_norm": True}),
        ("QNNalpha", {"head_layout": "reference", "num_heads": 2, "activation": "gelu"}),
        ("QNNalpha", {"residual": False}),
        ("QNNalpha_MLP", {"batch_norm": True, "hidden_units": [16, 8]}),
        ("QNN", {"neuron_type": "T1", "batch_norm": True, "bilinear_dim": 6, "hidden_activations": "PReLU"}),
        ("QNN", {"neuron_type": "T27"}),
        ("DCN", {"batch_norm": True, "dnn_activations": "Dice"}),
        ("GDCN", {"batch_norm": True}),
        ("DCNv3", {"batch_norm": True}),
        ("QIN", {"mid_activation": "relu"}),
        ("QIN", {"attention": "softmax", "num_heads": 2, "normalize_attention": True}),
        ("QIN", {"attention": "mean", "network": "mlp", "mlp_hidden_units": [8]}),
        ("DIN", {"din_use_softmax": True, "batch_norm": True}),
    ],
)
def test_what_is_folded(name: str, params: dict[str, Any], tmp_path: Path):
    torch.manual_seed(1)
    check_export(settled(build(features_for(name), name, **params)), tmp_path)


def test_features_of_every_type_and_a_batch_norm(tmp_path: Path):
    """Sequences, numbers and vectors lie in the same two matrices; the batch norm is in the weights."""
    extra = {
        "tags": sequence_spec(6, 4),
        "price": {"type": "numeric"},
        "picture": vector_spec(5, 8),
        "d": {"type": "categorical", "padding_idx": 0, "vocab_size": 9, "share_embedding": "a"},
    }
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=8, extra=extra)
    model = settled(
        build(feature_map, "QNNalpha_MLP", batch_norm=True, hidden_units=[16, 8], net_dropout=0.3)
    )
    served = check_export(model, tmp_path)
    assert served.inputs == ["ids", "numbers"]
    places = {field.name: (field.matrix, field.start, field.width) for field in served.fields}
    assert places == {
        "a": ("ids", 0, 1),
        "b": ("ids", 1, 1),
        "tags": ("ids", 2, 4),
        "price": ("numbers", 0, 1),
        "picture": ("numbers", 1, 5),
        "d": ("ids", 6, 1),
    }
    assert not {"BatchNormalization", "Dropout"} & set(operators(tmp_path / "model.onnx"))


def test_plain_features_are_one_lookup_and_the_snapshot_leaves_the_model_alone(tmp_path: Path):
    model = settled(build(features_for("DeepFM"), "DeepFM", batch_norm=True))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    served, session = exported(model, tmp_path, rate=0.25)
    assert operators(tmp_path / "model.onnx").count("Gather") == 2  # embeddings and linear weights
    assert str(tmp_path.parent) not in (tmp_path / "model.onnx").read_bytes().decode("latin-1")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    matrices = made_up(model.feature_map, served.fields, ROWS)
    p = predictions(model, served, matrices)
    np.testing.assert_allclose(onnx.run(session, matrices), p / (p + (1 - p) / 0.25), atol=1e-6)


class Foreign(BaseModel):
    """As FuxiCTR's own zoo writes models."""

    def __init__(self, feature_map, **kwargs):
        super().__init__(feature_map, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, 4)
        self.mlp = MLP_Block(feature_map.sum_emb_out_dim(), [8], output_dim=1, batch_norm=True)
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.output_activation(self.mlp(x))}


@pytest.mark.slow
def test_a_model_that_is_none_of_ours(tmp_path: Path):
    extra = {"price": {"type": "numeric"}, "tags": sequence_spec(6, 3)}
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=4, extra=extra)
    check_export(settled(Foreign(feature_map, **BASE)), tmp_path)


class Bessel(RankModel):
    """Asks for an operator that ONNX does not have."""

    def __init__(self, feature_map, **kwargs):
        super().__init__(feature_map, **kwargs)
        self.weight = nn.Parameter(torch.ones(1))
        self.finish(1e-3, kwargs)

    def logit(self, X):
        return torch.special.bessel_j0(X["a"].float()).view(-1, 1) * self.weight


def test_an_operator_that_onnx_does_not_have_is_refused_in_a_sentence(tmp_path: Path):
    served = Served(Bessel(make_feature_map({"a": 9}), **BASE))
    with pytest.raises(
        RequestError, match=r"^Bessel cannot be written as ONNX: .*bessel.*; serve it by load_run"
    ):
        onnx.write_onnx(served, tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())


class Counting(Bessel):
    """Asks how many rows there are in a way that fixes them."""

    def logit(self, X):
        return X["a"].float().view(len(X["a"]), 1) * self.weight


def test_a_fixed_number_of_rows_is_refused(tmp_path: Path):
    served = Served(Counting(make_feature_map({"a": 9}), **BASE))
    with pytest.raises(RequestError, match="Counting cannot be written as ONNX: "):
        onnx.write_onnx(served, tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())


def test_more_weights_than_a_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx, "LIMIT", 100)
    served = Served(build(features_for("LR"), "LR"))
    with pytest.raises(RequestError, match="an ONNX file holds 2 GB"):
        onnx.write_onnx(served, tmp_path / "model.onnx", {})
