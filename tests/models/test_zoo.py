"""WideDeep, PNN, AutoInt, MaskNet, FinalMLP and FinalNet against their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.models import DCN, DNN, FM, GDCN, PNN, AutoInt, FinalMLP, FinalNet, MaskNet, WideDeep
from tests.synthetic import BASE
from tests.written_out import (
    affine,
    batch_norm,
    check_model,
    embeddings,
    layer_norm,
    linear_terms,
    mlp,
    randomised,
    relu,
    sigmoid,
    three_features,
)


def build(cls, feature_map, **kwargs):
    return randomised(cls(feature_map, embedding_dim=4, **kwargs, **BASE))


@pytest.mark.parametrize(("with_batch_norm", "training"), [(False, False), (True, False), (True, True)])
def test_wide_deep(with_batch_norm, training):
    feature_map, batch = three_features()

    def formula(w):
        deep = mlp(w, embeddings(w, batch).reshape(12, -1), "dnn.mlp", training)
        return linear_terms(w, batch, "lr_layer") + deep

    model = build(WideDeep, feature_map, hidden_units=[6, 5], batch_norm=with_batch_norm)
    check_model(model.train(training), batch, formula)


def test_pnn():
    feature_map, batch = three_features()

    def formula(w):
        e = embeddings(w, batch)
        products = [(e[:, f] * e[:, g]).sum(axis=1) for f, g in ((0, 1), (0, 2), (1, 2))]
        return mlp(w, np.concatenate([e.reshape(12, -1), np.stack(products, axis=1)], axis=1), "dnn.mlp")

    check_model(build(PNN, feature_map, hidden_units=[6, 5]).eval(), batch, formula)


def attention(w, x, layer, heads, residual, scaled):
    """(B, F, E) -> (B, F, A): every head by itself."""
    name = f"self_attention.{layer}"
    weights = {part: w[f"{name}.W_{part}.weight"] for part in "qkv"}
    size = len(weights["q"]) // heads
    parts = []
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = (x @ weights[part][rows].T for part in "qkv")
        scores = np.exp(np.einsum("bfd,bgd->bfg", q, k) / (np.sqrt(size) if scaled else 1))
        parts.append(np.einsum("bfg,bgd->bfd", scores / scores.sum(axis=2, keepdims=True), v))
    out = np.concatenate(parts, axis=2)
    if residual:
        out = out + (x @ w[f"{name}.W_res.weight"].T if f"{name}.W_res.weight" in w else x)
    if f"{name}.layer_norm.weight" in w:
        out = layer_norm(out, w[f"{name}.layer_norm.weight"], w[f"{name}.layer_norm.bias"])
    return relu(out)


AUTOINT = [
    {},
    {"use_residual": False, "use_scale": True, "dnn_hidden_units": [], "use_wide": True},
    {"layer_norm": True, "num_heads": 2, "attention_dim": 4, "use_scale": True},
]


@pytest.mark.parametrize("options", AUTOINT)
def test_autoint(options):
    feature_map, batch = three_features()
    options = {"dnn_hidden_units": [6, 5], "attention_dim": 6, "num_heads": 3} | options

    def formula(w):
        e = h = embeddings(w, batch)
        for layer in range(2):
            residual, scaled = options.get("use_residual", True), options.get("use_scale", False)
            h = attention(w, h, layer, options["num_heads"], residual, scaled)
        logit = affine(w, "fc", h.reshape(12, -1))
        if options["dnn_hidden_units"]:
            logit = logit + mlp(w, e.reshape(12, -1), "dnn.mlp")
        return logit + (linear_terms(w, batch, "lr_layer") if options.get("use_wide") else 0)

    check_model(build(AutoInt, feature_map, **options).eval(), batch, formula)


def mask_block(w, name, e, h, activation):
    mask = affine(w, f"{name}.mask_layer.2", relu(affine(w, f"{name}.mask_layer.0", e)))
    out = (mask * h) @ w[f"{name}.hidden_layer.0.weight"].T
    if f"{name}.hidden_layer.1.weight" in w:
        out = layer_norm(out, w[f"{name}.hidden_layer.1.weight"], w[f"{name}.hidden_layer.1.bias"])
    return relu(out) if activation else out


@pytest.mark.parametrize("norms", [True, False])
@pytest.mark.parametrize(
    ("model_type", "activation"),
    [("SerialMaskNet", "ReLU"), ("SerialMaskNet", None), ("ParallelMaskNet", "ReLU")],
)
def test_masknet(model_type, activation, norms):
    feature_map, batch = three_features()

    def formula(w):
        e = embeddings(w, batch)
        h = layer_norm(e, w["emb_norm.weight"], w["emb_norm.bias"]) if norms else e
        e, h = e.reshape(12, -1), h.reshape(12, -1)
        if model_type == "ParallelMaskNet":
            blocks = [mask_block(w, f"mask_net.mask_blocks.{k}", e, h, activation) for k in range(2)]
            return mlp(w, np.concatenate(blocks, axis=1), "mask_net.dnn.mlp")
        for layer in range(2):
            h = mask_block(w, f"mask_net.mask_blocks.{layer}", e, h, activation)
        return affine(w, "mask_net.fc", h)

    settings = {"parallel_num_blocks": 2, "parallel_block_dim": 5, "dnn_hidden_units": [7, 6]}
    settings |= {"emb_layernorm": norms, "net_layernorm": norms, "reduction_ratio": 1.5}
    settings |= {"dnn_hidden_activations": activation}
    check_model(build(MaskNet, feature_map, model_type=model_type, **settings).eval(), batch, formula)


def gate(w, name, batch, context):
    if context:
        table = f"{name}.context.embedding_layer.embedding_layers"
        given = np.concatenate(
            [w[f"{table}.{feature}.weight"][batch[feature]] for feature in context], axis=1
        )
    else:
        given = w[f"{name}.constant"]
    return 2 * sigmoid(mlp(w, given, f"{name}.mlp.mlp"))


@pytest.mark.parametrize("contexts", [([], []), (["a"], ["a", "b"]), None])
def test_finalmlp(contexts):
    feature_map, batch = three_features()

    def formula(w):
        x = x1 = x2 = embeddings(w, batch).reshape(12, -1)
        if contexts:
            x1, x2 = (x * gate(w, f"gates.{k}", batch, context) for k, context in enumerate(contexts))
        h1, h2 = (mlp(w, x, f"mlp{k}.mlp", output=False) for k, x in ((1, x1), (2, x2)))
        pairs = sum(
            ((h1[:, 3 * k : 3 * k + 3] @ w["fusion.w_xy"][k]) * h2[:, 2 * k : 2 * k + 2]).sum(1)
            for k in range(2)
        )
        return affine(w, "fusion.w_x", h1) + h2 @ w["fusion.w_y.weight"].T + pairs[:, None]

    settings = {"mlp1_hidden_units": [7, 6], "mlp2_hidden_units": [4], "num_heads": 2}
    first, second = contexts or ([], [])
    settings |= {"fs_hidden_units": [5], "fs1_context": first, "fs2_context": second}
    model = build(FinalMLP, feature_map, use_fs=contexts is not None, **settings)
    check_model(model.eval(), batch, formula)


def final_block(w, name, x, options, training):
    layers = [layer for layer in range(20) if f"{name}.{layer}.linear.weight" in w]
    activations = options.get(f"{name}_hidden_activations", [None] * len(layers))
    for layer, activation in zip(layers, activations, strict=True):
        h = affine(w, f"{name}.{layer}.linear", x)
        u, v = h[:, : h.shape[1] // 2], h[:, h.shape[1] // 2 :]
        x = u + u * v if options["residual_type"] == "sum" else np.concatenate([u, u * v], axis=1)
        x = batch_norm(w, f"{name}.{layer + 1}", x, training)
        x = relu(x) if activation else x
    return x


FINALNET = [  # training only with batch norm
    {"block_type": "1B", "batch_norm": False},
    {"residual_type": "sum"},
    {"use_feature_gating": True},
    {"block1_hidden_activations": ["ReLU", None], "block2_hidden_activations": ["ReLU"]},
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", FINALNET)
def test_finalnet(options, training):
    feature_map, batch = three_features()
    options = {"block_type": "2B", "residual_type": "concat"} | options

    def formula(w):
        e = embeddings(w, batch)
        x = x1 = e.reshape(12, -1)
        if "gate.weight" in w:
            gates = np.einsum("fg,bge->bfe", w["gate.weight"], e) + w["gate.bias"][:, None]
            x1 = np.concatenate([x, (e * gates).reshape(12, -1)], axis=1)
        first = affine(w, "fc1", final_block(w, "block1", x1, options, training))
        if options["block_type"] == "1B":
            return first
        return (first + affine(w, "fc2", final_block(w, "block2", x, options, training))) / 2

    settings = {"block1_hidden_units": [6, 4], "block2_hidden_units": [4]}
    check_model(build(FinalNet, feature_map, **settings, **options).train(training), batch, formula)


VECTOR = {"v": {"type": "embedding", "pretrain_dim": 6}}
WRONG = [
    (WideDeep, {}, VECTOR, "no weights for a feature of type embedding: v; leave such"),
    (AutoInt, {"use_wide": True}, VECTOR, "no weights for a feature of type embedding: v; leave such"),
    (PNN, {"product_type": "outer"}, {}, "unknown product_type 'outer'; known: inner"),
    (AutoInt, {"num_heads": 3}, {}, "num_heads=3 does not divide attention_dim=8"),
    (AutoInt, {"attention_layers": 0}, {}, "attention_layers must be at least 1, got 0"),
    (MaskNet, {"model_type": "Serial"}, {}, "unknown model_type 'Serial'.*mean 'SerialMaskNet'"),
    (MaskNet, {"dnn_hidden_units": []}, {}, "dnn_hidden_units needs at least one width"),
    (MaskNet, {"dnn_hidden_units": [8, 0]}, {}, r"dnn_hidden_units: the width of.*at least 1, got \[8, 0\]"),
    (MaskNet, {"reduction_ratio": 0.01}, {}, "reduction_ratio=0.01 leaves no width to a mask of width 12"),
    (MaskNet, {"dnn_hidden_activations": "Relu6"}, {}, "dnn_hidden_activations: 'Relu6' is no activation"),
    (FinalMLP, {"fs1_context": ["aa"]}, {}, "fs1_context: 'aa' is no feature of the model.*mean 'a'"),
    (FinalMLP, {"num_heads": 5}, {}, "num_heads=5 must divide the last widths of both networks, 64 and 64"),
    (FinalMLP, {"mlp2_hidden_units": []}, {}, "mlp2_hidden_units needs at least one width"),
    (FinalNet, {"block_type": "3B"}, {}, "unknown block_type '3B'; known: 1B, 2B"),
    (FinalNet, {"residual_type": "add"}, {}, "unknown residual_type 'add'; known: concat, sum"),
    (FinalNet, {"block1_hidden_units": [6, 5]}, {}, r"block1_hidden_units must be even.*\[6, 5\]"),
    (FinalNet, {"block2_hidden_activations": "Relu6"}, {}, "block2_hidden_activations: 'Relu6' is no act"),
    (FinalNet, {"block1_hidden_activations": ["ReLU"]}, {}, "lists 1 activations for 3 layers"),
    (FinalNet, {"block2_hidden_units": []}, {}, "block2_hidden_units needs at least one width"),
]


@pytest.mark.parametrize(("cls", "kwargs", "extra", "words"), WRONG)
def test_refusals(cls, kwargs, extra, words):
    with pytest.raises(ValueError, match=words):
        cls(three_features(extra)[0], embedding_dim=4, **kwargs, **BASE)


@pytest.mark.parametrize(
    ("cls", "kwargs"), [(PNN, {}), (AutoInt, {}), (MaskNet, {}), (FinalNet, {"use_feature_gating": True})]
)
def test_products_of_fields_need_one_embedding_dim(cls, kwargs):
    feature_map, _ = three_features()
    feature_map.features["b"]["embedding_dim"] = 6
    with pytest.raises(ValueError, match=r"all need one embedding_dim: 4 \(a\), 6 \(b\)"):
        cls(feature_map, embedding_dim=4, **kwargs, **BASE)


def test_pnn_needs_a_pair():
    feature_map, _ = three_features()
    for name in "bc":
        del feature_map.features[name]
    feature_map.num_fields = feature_map.get_num_fields()
    with pytest.raises(ValueError, match="PNN multiplies pairs of features, so it needs at least two"):
        PNN(feature_map, embedding_dim=4, **BASE)


@pytest.mark.parametrize("cls", [DNN, WideDeep, DCN, GDCN, FinalMLP, FinalNet])
def test_different_embedding_dims_and_given_vectors(cls):
    feature_map, batch = three_features({} if cls is WideDeep else VECTOR)
    feature_map.features["b"]["embedding_dim"] = 6
    options = {"fs1_context": ["b"]} if cls is FinalMLP else {}
    assert build(cls, feature_map, **options)(batch)["y_pred"].shape == (12, 1)


def test_wide_deep_is_its_parts():
    """Without the linear weights it is DNN; the linear terms of FM, without its bias, are its own."""
    feature_map, batch = three_features()
    model, X = build(WideDeep, feature_map).eval(), {name: batch[name] for name in "abc"}
    dnn, fm = build(DNN, feature_map, hidden_units=[64] * 3).eval(), build(FM, feature_map).eval()
    weights = {name.replace("dnn.", "mlp."): value for name, value in model.state_dict().items()}
    dnn.load_state_dict({name: weights[name] for name in dnn.state_dict()})
    fm.fm.lr_layer.load_state_dict(model.lr_layer.state_dict() | {"bias": torch.zeros(1)})
    torch.testing.assert_close(model.logit(X), dnn.logit(X) + fm.fm.lr_layer(X))


SHARED = {
    WideDeep: ("net_dropout", ["embedding_layer", "lr_layer"]),
    PNN: ("net_dropout", ["embedding_layer", "inner_product_layer"]),
    MaskNet: ("net_dropout", ["embedding_layer", "emb_norm"]),
    AutoInt: ("net_dropout", ["embedding_layer"]),
    FinalMLP: ("mlp2_dropout", ["embedding_layer", "gates.0", "gates.1"]),
    FinalNet: ("block2_dropout", ["embedding_layer"]),
}


@pytest.mark.parametrize("cls", SHARED)
def test_self_ensemble_passes_share_what_has_no_dropout(cls):
    feature_map, batch = three_features()
    dropout, parts = SHARED[cls]
    model = build(cls, feature_map, self_ensemble=True, **{dropout: 0.5}).train()
    calls = []
    for part in parts:
        model.get_submodule(part).register_forward_hook(lambda *_, part=part: calls.append(part))
    outputs = model(batch)
    assert not torch.equal(outputs["y_pred_1"], outputs["y_pred_2"])
    assert sorted(calls) == sorted(parts)
