"""The parts of the models as formulas in numpy, and what holds a model to them.

The weights come by their names in `state_dict`. All functions are analytic where they are smooth, so a
complex step gives their derivatives to the last digits: f'(w) d = Im f(w + i h d) / h.
B batch, F fields, E embedding dim, D width, M rows, H heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from torch import Tensor, nn

from fuxictr_qnn.models.base import RankModel
from tests.synthetic import make_batches, make_feature_map

Weights = dict[str, np.ndarray]
Batch = dict[str, Tensor]


def three_features(extra: dict[str, dict[str, Any]] | None = None) -> tuple[FeatureMap, Batch]:
    """Two ids and a sequence with padding, E = 4: feature map and batch; `extra` as in make_feature_map."""
    feature_map = make_feature_map({"a": 9, "b": 7, "c": 5}, {"c": 3}, dim=4, extra=extra)
    batch = make_batches(feature_map, 12, 1)[0]
    batch["c"][:4, 2] = 0
    return feature_map, batch


def randomised(model: nn.Module) -> nn.Module:
    """Weights that make every term count; rows of padding stay 0."""
    torch.manual_seed(4)
    for parameter in model.parameters():
        if parameter.requires_grad:  # FuxiCTR keeps masks as parameters
            parameter.data.normal_(std=0.4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.Embedding):
            module.weight.data[0] = 0
    return model


def relu(z: np.ndarray) -> np.ndarray:
    return np.where(z.real > 0, z, 0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def layer_norm(z: np.ndarray, gain: np.ndarray | float, bias: np.ndarray | float) -> np.ndarray:
    """Over the last axis."""
    centred = z - z.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gain + bias


def affine(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def batch_norm(w: Weights, name: str, z: np.ndarray, training: bool) -> np.ndarray:
    """Off where there is no layer of that name."""
    if f"{name}.running_mean" not in w:
        return z
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    if training:
        mean = z.mean(axis=0)
        var = ((z - mean) ** 2).mean(axis=0)
    return (z - mean) / np.sqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def embeddings(w: Weights, batch: Batch, name: str = "embedding_layer", pool: str = "mean") -> np.ndarray:
    """(B, F, E): ids, sequences pooled over what is no padding, numbers times a vector."""
    tables = f"{name}.embedding_layer.embedding_layers"
    fields = []
    for feature in sorted(set(batch) - {"label"}):
        weight, values = w[f"{tables}.{feature}.weight"], batch[feature].numpy()
        if values.dtype.kind == "f":
            fields.append(values[:, None] * weight.T)
        elif values.ndim == 1:
            fields.append(weight[values])
        else:
            real = (values > 0)[:, :, None]
            total = (weight[values] * real).sum(axis=1)
            fields.append(total / real.sum(axis=1) if pool == "mean" else total)
    return np.stack(fields, axis=1)


def linear_terms(w: Weights, batch: Batch, name: str) -> np.ndarray:
    """(B, 1): one weight a value, and a bias where the layer has one."""
    return embeddings(w, batch, f"{name}.embedding_layer", "sum").sum(axis=1) + w.get(f"{name}.bias", 0)


def pairs(e: np.ndarray) -> np.ndarray:
    """(B, 1): inner products of all pairs of fields."""
    fields = range(e.shape[1])
    return sum((e[:, f] * e[:, g]).sum(1, keepdims=True) for f in fields for g in fields if f < g)


def cin(w: Weights, e: np.ndarray, name: str = "cin") -> np.ndarray:
    """(B, 1): X^k_h = sum_ij W^kh_ij e_i * X^{k-1}_j + b^kh, summed over E, then one linear map."""
    rows, sums = e, []
    for layer in range(1, 1 + sum(key.startswith(f"{name}.cin_layer") for key in w) // 2):
        weight, bias = w[f"{name}.cin_layer.layer_{layer}.weight"], w[f"{name}.cin_layer.layer_{layer}.bias"]
        weight = weight.reshape(len(bias), e.shape[1], rows.shape[1])
        rows = np.einsum("hij,bie,bje->bhe", weight, e, rows) + bias[:, None]
        sums.append(rows.sum(axis=2))
    return affine(w, f"{name}.fc", np.concatenate(sums, axis=1))


def mlp(w: Weights, x: np.ndarray, name: str, training: bool = False, output: bool = True) -> np.ndarray:
    """Linear, batch norm, ReLU for each hidden layer; `output`: the last layer is linear only."""
    layers = sorted({int(key[len(name) + 1 :].split(".")[0]) for key in w if key.startswith(f"{name}.")})
    linear = [i for i in layers if w[f"{name}.{i}.weight"].ndim == 2]
    for i in linear[:-1] if output else linear:
        x = relu(batch_norm(w, f"{name}.{i + 1}", affine(w, f"{name}.{i}", x), training))
    return affine(w, f"{name}.{linear[-1]}", x) if output else x


def quadratic(w: Weights, x: np.ndarray, rows: int, heads: int, fields: int, training: bool) -> np.ndarray:
    """(B, D): sum_m X * relu(BN(W_m X + b_m)) + X, layer by layer; the products are laid out head by head."""
    batch, width = x.shape
    layer = 0
    while f"network.layers.{layer}.linear.weight" in w:
        name = f"network.layers.{layer}"
        h = relu(batch_norm(w, f"{name}.bn", affine(w, f"{name}.linear", x), training))
        h = h.reshape(batch, heads, rows, width // heads).sum(axis=2)
        own = x.reshape(batch, fields, heads, -1).transpose(0, 2, 1, 3).reshape(h.shape)
        x = (own * h).reshape(batch, width) + x
        layer += 1
    return x


def check_model(model: RankModel, batch: Batch, formula: Callable[[Weights], np.ndarray]) -> None:
    """The model's logit is `formula(weights)`: values and gradients in float64, values in float32."""
    X = {name: batch[name] for name in batch if name != "label"}
    in_float32 = model.logit(X).detach().numpy()
    model.double()
    weights = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
    expected = formula(weights)
    logit = model.logit(X)
    np.testing.assert_allclose(logit.detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(in_float32, expected, rtol=1e-5, atol=1e-5)

    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    check_gradients(logit, parameters, lambda w: formula(weights | w))
    if not model.training:  # in training, batch norm takes a bias away again
        for name, parameter in parameters.items():
            slope = torch.autograd.grad(model.logit(X).sum(), parameter)[0]
            assert slope.abs().max() > 1e-6, f"{name} changes nothing"


def check_gradients(out: Tensor, inputs: dict[str, Tensor], formula: Callable[[Weights], np.ndarray]) -> None:
    """The slopes of `out` along a direction of each input are those of `formula(inputs)`, to 1e-10."""
    generator = np.random.default_rng(0)
    weights = {name: value.detach().numpy().copy() for name, value in inputs.items()}
    probe = generator.normal(size=tuple(out.shape))
    gradients = torch.autograd.grad((out * torch.from_numpy(probe)).sum(), list(inputs.values()))
    for name, gradient in zip(inputs, gradients, strict=True):
        direction = generator.normal(size=tuple(gradient.shape))
        moved = formula(weights | {name: weights[name] + 1e-30j * direction})
        derivative = (moved.imag * probe).sum() / 1e-30
        along = (gradient.numpy() * direction).sum()
        np.testing.assert_allclose(along, derivative, rtol=1e-10, atol=1e-11, err_msg=name)
