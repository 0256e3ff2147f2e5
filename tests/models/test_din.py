"""DIN against its formula in numpy, and its fast attention against FuxiCTR's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.models import DIN
from tests.synthetic import BASE, make_batches, make_item_feature_map


def small(**kwargs):
    torch.manual_seed(1)
    feature_map = make_item_feature_map(dim=4)
    options = {"dnn_hidden_units": [6], "attention_hidden_units": [5]} | kwargs
    model = DIN(feature_map, embedding_dim=4, **options, **BASE)
    for name, parameter in model.named_parameters():
        if "embedding_layers" in name or "alpha" in name:
            parameter.data.normal_(std=0.5)
    return model, make_batches(feature_map, 16, 1)[0]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("softmax", [True, False])
def test_forward_is_the_written_out_model(softmax, fast):
    model, batch = small(attention_hidden_activations="ReLU", din_use_softmax=softmax, fast=fast)
    rows = model.embed(model.get_inputs(batch))
    target, context = (x.detach().double().numpy() for x in (rows.target_BD, rows.context_BC))
    history = rows.table_UD[rows.index_BS].detach().double().numpy()
    mask = (batch["item_seq"] != 0).numpy()
    w = {name: p.detach().double().numpy() for name, p in model.named_parameters()}

    def mlp(prefix, x):
        hidden = np.maximum(x @ w[f"{prefix}.0.weight"].T + w[f"{prefix}.0.bias"], 0)
        return hidden @ w[f"{prefix}.2.weight"].T + w[f"{prefix}.2.bias"]

    pooled = np.zeros_like(target)
    for b, t in enumerate(target):
        pairs = [np.concatenate([t, x, t - x, t * x]) for x in history[b]]
        scores = mlp("attention.attention_layer.mlp", np.array(pairs))[:, 0] * mask[b]
        if softmax:  # FuxiCTR's: padding is far below, and a history of nothing but padding uniform
            e = np.exp(scores) * (mask[b] if mask[b].any() else 1)
            scores = e / e.sum()
        pooled[b] = scores @ history[b]
    logit = mlp("mlp.mlp", np.concatenate([context, target, pooled], axis=1))
    y_pred = model.eval()(batch)["y_pred"].detach().numpy()
    np.testing.assert_allclose(y_pred, 1 / (1 + np.exp(-logit)), rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention_hidden_activations": "ReLU", "attention_hidden_units": [6, 5]},
        {"din_use_softmax": True, "attention_output_activation": "Sigmoid"},
    ],
)
def test_fast_and_plain_attention_have_the_same_values_and_gradients(options, training):
    results = []
    for fast in (True, False):
        model, batch = small(fast=fast, **options)
        model.attention.double().train(training)
        rows = model.embed(model.get_inputs(batch))
        t, x = (v.detach().double().requires_grad_() for v in (rows.target_BD, rows.table_UD))
        rows = rows._replace(target_BD=t, table_UD=x)
        out = model.pooled_history(rows)
        (out**2).sum().backward()
        results.append([out, t.grad, x.grad, *(p.grad for p in model.attention.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_dice_is_the_default_in_the_attention():
    model, _ = small()
    assert [type(module).__name__ for module in model.attention.attention_layer.mlp] == [
        "Linear",
        "Dice",
        "Linear",
    ]
