"""Feature maps and batches made up in memory, for tests that need no file."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from fuxictr.features import FeatureMap
from torch import Tensor

# What BaseModel's constructor wants of every model.
BASE = {"verbose": 0, "model_root": "unused", "metrics": ["AUC", "logloss"], "gpu": -1}


def make_feature_map(
    vocabularies: dict[str, int],
    sequences: dict[str, int] | None = None,
    dim: int = 16,
    extra: dict[str, dict[str, Any]] | None = None,
) -> FeatureMap:
    """Categorical features with the given vocabulary sizes; `sequences` maps some of them to a length.

    `extra` holds features of other kinds, in the words of feature_map.json.
    """
    feature_map = FeatureMap("synthetic", "unused")
    sequences = sequences or {}
    for name, size in vocabularies.items():
        spec = {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size}
        if name in sequences:
            spec |= sequence_spec(size, sequences[name])
        feature_map.features[name] = spec
    for name, spec in (extra or {}).items():
        feature_map.features[name] = {"source": ""} | spec
    feature_map.features = OrderedDict(feature_map.features)
    feature_map.labels = ["label"]
    feature_map.default_emb_dim = dim
    feature_map.num_fields = feature_map.get_num_fields()
    feature_map.set_column_index()
    return feature_map


def sequence_spec(vocab_size: int, max_len: int) -> dict[str, Any]:
    return {
        "type": "sequence",
        "padding_idx": 0,
        "vocab_size": vocab_size,
        "max_len": max_len,
        "feature_encoder": "layers.MaskedAveragePooling()",
    }


def vector_spec(width: int, dim: int) -> dict[str, Any]:
    """Vectors of this width, mapped to the embedding dim."""
    encoder = f"nn.Linear({width}, {dim}, bias=False)"
    return {"type": "embedding", "pretrain_dim": width, "feature_encoder": encoder}


def make_item_feature_map(
    dim: int = 16, items: int = 12, extra: dict[str, dict[str, Any]] | None = None
) -> FeatureMap:
    """As a dataset with item_info: rows with a level, an item and the items before it.

    Of each item the table has tags, a vector and what else of `extra` has the source "item".
    """
    columns = {
        "item_id": {"type": "categorical", "source": "item", "padding_idx": 0, "vocab_size": items},
        "item_tags": sequence_spec(6, 3) | {"source": "item"},
        "item_vector": vector_spec(7, dim) | {"source": "item"},
        "item_seq": {"type": "meta", "max_len": 5},
    }
    feature_map = make_feature_map({"level": 5}, dim=dim, extra=columns | (extra or {}))
    generator = torch.Generator().manual_seed(7)
    feature_map.item_table = {
        name: _values(spec, items, generator)
        for name, spec in feature_map.features.items()
        if spec.get("source") == "item"
    }
    feature_map.item_table["item_id"] = torch.arange(items, dtype=torch.int32)
    for column in feature_map.item_table.values():
        column[0] = 0  # the padding
    feature_map.item_key, feature_map.item_history = "item_id", "item_seq"
    return feature_map


def make_batches(
    feature_map: FeatureMap, batch_size: int, count: int, seed: int = 0
) -> list[dict[str, Tensor]]:
    """Random features, int32 and float32 as the loaders give them, and labels that depend on them.

    Where there is an item table, the batch has an item's id and the ids of the history only.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.Generator().manual_seed(99)
    key, history = (getattr(feature_map, name, None) for name in ("item_key", "item_history"))
    in_batch = {
        name: spec
        for name, spec in feature_map.features.items()
        if spec["type"] != "meta" and (key is None or name == key or spec["source"] != "item")
    }
    effect = {name: torch.randn(_effects(spec), generator=weights) for name, spec in in_batch.items()}
    batches = []
    for _ in range(count):
        batch = {name: _values(spec, batch_size, generator) for name, spec in in_batch.items()}
        logit = sum(_contribution(spec, batch[name], effect[name]) for name, spec in in_batch.items())
        if history:
            batch[history] = _histories(feature_map, batch_size, generator)
        batch["label"] = (torch.rand(batch_size, generator=generator) < torch.sigmoid(2 * logit)).float()
        batches.append(batch)
    return batches


def _values(spec: dict[str, Any], rows: int, generator: torch.Generator) -> Tensor:
    """A column of the feature, by its type."""
    if spec["type"] in ("numeric", "embedding"):
        shape = (rows,) if spec["type"] == "numeric" else (rows, spec["pretrain_dim"])
        return torch.randn(shape, generator=generator)
    shape = (rows, spec["max_len"]) if spec["type"] == "sequence" else (rows,)
    return torch.randint(1, spec["vocab_size"], shape, generator=generator, dtype=torch.int32)


def _effects(spec: dict[str, Any]) -> int:
    """How many weights decide what a feature adds to the logit."""
    return {"numeric": 1, "embedding": spec.get("pretrain_dim")}.get(spec["type"]) or spec["vocab_size"]


def _contribution(spec: dict[str, Any], values: Tensor, effect: Tensor) -> Tensor:
    """(B,) what a feature adds to the logit."""
    if spec["type"] in ("numeric", "embedding"):
        return (values.view(len(values), -1) * effect).mean(1)
    return effect[values].view(len(values), -1).mean(1)


def _histories(feature_map: FeatureMap, rows: int, generator: torch.Generator) -> Tensor:
    """(B, S) item ids, the last of a row at its end; row 0 is empty, row 1 full."""
    length = feature_map.features[feature_map.item_history]["max_len"]
    items = len(feature_map.item_table[feature_map.item_key])
    ids = torch.randint(1, items, (rows, length), generator=generator, dtype=torch.int32)
    lengths = torch.randint(0, length + 1, (rows, 1), generator=generator)
    lengths[:2, 0] = torch.tensor([0, length])[:rows]
    return ids * (torch.arange(length) >= length - lengths)
