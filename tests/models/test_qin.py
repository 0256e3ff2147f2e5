"""QIN: published parameter total, its forward pass written out, and all variants, fast against plain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import AdaptiveSparseTargetAttention
from fuxictr_qnn.models import QIN, item_history
from fuxictr_qnn.models.registry import find_model
from tests.synthetic import BASE, make_batches, make_feature_map, make_item_feature_map, sequence_spec

VARIANTS = {
    "published": {},
    **{name: {"attention": name} for name in ("softmax", "relu2", "silu", "mean")},
    "heads": {"num_heads": 4},
    "by length": {"normalize_attention": True},
    "bias": {"attention_bias": True},
    "relu after": {"activation": "relu"},
    "mid-activation": {"activation": "none", "mid_activation": "relu"},
    "no batch norm": {"batch_norm": False},
    "mlp": {"network": "mlp", "mlp_hidden_units": (8, 4)},
    "levels again": {"context_item_features": ["item_id"]},
}


def small(dtype=torch.float32, **kwargs):
    torch.manual_seed(1)
    feature_map = make_item_feature_map(dim=4)
    options = {"num_layers": 2, "num_row": 3, "net_dropout": 0.0} | kwargs
    model = QIN(feature_map, embedding_dim=4, **options, **BASE)
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.5)  # so that products count
    for layer in model.embedding_layer.embedding_layer.embedding_layers.values():
        if isinstance(layer, torch.nn.Embedding):
            layer.weight.data[0] = 0
    for encoder in model.embedding_layer.embedding_layer.feature_encoders.modules():
        if isinstance(encoder, torch.nn.Linear):  # FuxiCTR hands it float32 whatever the weights are
            encoder.register_forward_pre_hook(lambda module, args: (args[0].to(module.weight.dtype),))
    return model.to(dtype), make_batches(feature_map, 16, 1)[0]


def microlens():
    """MicroLens_1M_x1's columns; of the item table, which has no parameters, a few rows will do."""
    item = {"source": "item"}
    feature_map = make_feature_map(
        {"likes_level": 11, "views_level": 11},
        dim=128,
        extra={
            "item_id": {"type": "categorical", "vocab_size": 91718, "padding_idx": 0} | item,
            "item_tags": sequence_spec(11740, 5) | item,
            "item_emb_d128": {"type": "embedding", "pretrain_dim": 128} | item,
            "item_seq": {"type": "meta", "max_len": 64},
        },
    )
    feature_map.item_table = {
        "item_id": torch.arange(3, dtype=torch.int32),
        "item_tags": torch.zeros(3, 5, dtype=torch.int32),
        "item_emb_d128": torch.zeros(3, 128),
    }
    feature_map.item_key, feature_map.item_history = "item_id", "item_seq"
    return feature_map


def test_parameter_total_is_the_published_one():
    model = QIN(microlens(), embedding_dim=128, num_layers=4, num_row=4, **BASE)
    assert sum(p.numel() for p in model.parameters()) == 31_244_293
    assert sum(p.numel() for p in model.attention.parameters()) == 1_179_648
    assert (model.context_dim, model.item_dim) == (256, 384)


def arrays(model):
    return {name: p.detach().double().numpy() for name, p in model.state_dict().items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("fast", [True, False])
def test_forward_is_the_written_out_model(fast, dtype, tolerance):
    model, batch = small(dtype, fast=fast)
    w = arrays(model)
    embedding = "embedding_layer.embedding_layer.embedding_layers.{}.weight"
    tables = model.feature_map.item_table
    tags = w[embedding.format("item_tags")][tables["item_tags"]]
    count = (tables["item_tags"] != 0).sum(1, keepdim=True).clamp_min(1).numpy()
    projection = next(p for name, p in w.items() if "feature_encoders.item_vector" in name)
    items = np.concatenate(
        [
            w[embedding.format("item_id")],
            tags.sum(1) / count,
            tables["item_vector"].double().numpy() @ projection.T,
        ],
        axis=1,
    )
    target, history = items[batch["item_id"]], items[batch["item_seq"]]
    query = target @ w["attention.W_q.weight"].T
    scores = np.einsum("ba,bsa->bs", query, history @ w["attention.W_k.weight"].T) / math.sqrt(24)
    weights = np.maximum(scores * (batch["item_seq"] != 0).numpy(), 0)
    pooled = np.einsum("bs,bsa->ba", weights, history @ w["attention.W_v.weight"].T)
    attended = pooled @ w["attention.W_o.weight"].T + target
    x = np.concatenate([w[embedding.format("level")][batch["level"]], target, attended], axis=1)
    for i in range(2):
        rows = x @ w[f"network.layers.{i}.linear.weight"].T + w[f"network.layers.{i}.linear.bias"]
        y = x * rows.reshape(len(x), 3, -1).sum(1) / np.sqrt(1 + 1e-5)  # fresh running statistics
        x = x + np.where(y > 0, y, 0.25 * y)
    logit = x @ w["fc.weight"].T + w["fc.bias"]
    y_pred = model.eval()(batch)["y_pred"].detach().numpy()
    np.testing.assert_allclose(y_pred, 1 / (1 + np.exp(-logit)), rtol=tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("training", [True, False])
def test_every_variant_fast_and_plain(variant, training):
    results = []
    for fast in (True, False):
        model, batch = small(torch.float64, fast=fast, **VARIANTS[variant])
        out = model.train(training)(batch)["y_pred"]
        out.sum().backward()
        results.append([out, *(p.grad for p in model.parameters() if p.grad is not None)])
        assert all(torch.isfinite(value).all() for value in results[-1])
    assert len(results[0]) == len(results[1]) > 5
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("most_numbers", [0, 10**6])
def test_a_scorer_predicts_what_its_model_predicts(variant, most_numbers, monkeypatch):
    monkeypatch.setattr(item_history, "_MOST_NUMBERS", most_numbers)
    model, batch = small(torch.float64, **VARIANTS[variant])
    with torch.no_grad():
        for _ in range(3):
            model.train()(batch)  # running statistics that are nothing special
        scorer, expected = model.eval().scorer(), model(batch)["y_pred"]
        assert expected.std() > 1e-3
        torch.testing.assert_close(scorer(batch), expected, rtol=1e-9, atol=0)
        model.network.apply(lambda module: [p.fill_(0.1) for p in module.parameters(recurse=False)])
        torch.testing.assert_close(scorer(batch), expected, rtol=1e-9, atol=0)  # a snapshot
        assert not torch.allclose(model(batch)["y_pred"], expected)
    assert model.embedded_items is None
    assert small(fast=False)[0].scorer() is None


@pytest.mark.parametrize("options", [{}, {"attention_dropout": 0.3}])
def test_self_ensemble_makes_two_passes(options):
    model, batch = small(self_ensemble=True, net_dropout=0.3, **options)
    attentions = []
    own = model.attention.from_table
    model.attention.from_table = lambda *args: attentions.append(own(*args)) or attentions[-1]
    outputs = model.train()(batch)
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"])
    assert len(attentions) == (2 if options else 1)  # shared where it has no dropout of its own
    assert set(model.eval()(batch)) == {"y_pred"}


def test_the_authors_name():
    assert find_model("QIN_variety_v9") is QIN


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"attention": "sigmoid"}, "unknown attention 'sigmoid'"),
        ({"network": "cnn"}, "unknown network 'cnn'; known: qnn, mlp"),
        ({"num_heads": 5}, "num_heads=5 does not divide attention_dim=24"),
        ({"mlp_hidden_units": (), "network": "mlp"}, "mlp_hidden_units"),
        ({"context_item_features": ["level"]}, "level is no feature with source: item"),
    ],
)
def test_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        small(**kwargs)


def test_attention_is_of_the_named_kind():
    model, _ = small(attention="silu", num_heads=2, normalize_attention=True, attention_dim=10)
    layer = model.attention
    assert isinstance(layer, AdaptiveSparseTargetAttention)
    assert (layer.activation, layer.num_heads, layer.normalize) == ("silu", 2, True)
    assert layer.W_q.weight.shape == (10, 12)
