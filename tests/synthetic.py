"""Feature maps and batches made up in memory, for tests that need no file."""

from __future__ import annotations

from collections import OrderedDict

import torch
from fuxictr.features import FeatureMap

# What BaseModel's constructor wants of every model.
BASE = {"verbose": 0, "model_root": "unused", "metrics": ["AUC", "logloss"], "gpu": -1}


def make_feature_map(
    vocabularies: dict[str, int], sequences: dict[str, int] | None = None, dim: int = 16
) -> FeatureMap:
    """Categorical features with the given vocabulary sizes; `sequences` maps some of them to a length."""
    feature_map = FeatureMap("synthetic", "unused")
    sequences = sequences or {}
    for name, size in vocabularies.items():
        spec = {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size}
        if name in sequences:
            spec |= {
                "type": "sequence",
                "feature_encoder": "layers.MaskedAveragePooling()",
                "max_len": sequences[name],
            }
        feature_map.features[name] = spec
    feature_map.features = OrderedDict(feature_map.features)
    feature_map.labels = ["label"]
    feature_map.default_emb_dim = dim
    feature_map.num_fields = feature_map.get_num_fields()
    feature_map.set_column_index()
    return feature_map


def make_batches(
    feature_map: FeatureMap, batch_size: int, count: int, seed: int = 0
) -> list[dict[str, torch.Tensor]]:
    """Random ids and labels that depend on them, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.Generator().manual_seed(99)
    effect = {n: torch.randn(s["vocab_size"], generator=weights) for n, s in feature_map.features.items()}
    batches = []
    for _ in range(count):
        batch, logit = {}, torch.zeros(batch_size)
        for name, spec in feature_map.features.items():
            shape = (batch_size, spec["max_len"]) if spec["type"] == "sequence" else (batch_size,)
            batch[name] = torch.randint(1, spec["vocab_size"], shape, generator=generator)
            values = effect[name][batch[name]]
            logit += values.mean(1) if spec["type"] == "sequence" else values
        batch["label"] = (torch.rand(batch_size, generator=generator) < torch.sigmoid(2 * logit)).float()
        batches.append(batch)
    return batches
