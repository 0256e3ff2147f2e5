"""A trained model as a function from ids to probabilities, with the least work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.layers import FeatureEmbedding
from torch import Tensor, nn

from fuxictr_qnn.layers.scoring import PackedEmbedding

_ROWS = 1024  # scored at a time on a CPU: what a layer makes of them stays in the cache


class Scorer(nn.Module):
    """Embeddings in one table, then a network on them: a snapshot of a model at evaluation.

    Args:
        features: names of the columns, in the order of the fields.
        embedding: ids (B, F) -> (B, D).
        network: (B, D) -> (B, 1), probabilities.

    Shapes: batch with a column (B,) for each feature -> (B, 1).
    """

    def __init__(self, features: Sequence[str], embedding: PackedEmbedding, network: nn.Module):
        super().__init__()
        self.features, self.embedding, self.network = list(features), embedding, network
        self.eval()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        device = self.embedding.table.device
        ids = torch.stack([batch[name] for name in self.features], dim=1).to(device)
        if device.type != "cpu" or len(ids) <= _ROWS:
            return self.score(ids)
        return torch.cat([self.score(part) for part in ids.split(_ROWS)])

    def score(self, ids: Tensor) -> Tensor:
        """ids (B, F) -> probabilities (B, 1)."""
        return self.network(self.embedding(ids))


def pack(embedding_layer: FeatureEmbedding, order: Sequence[str]) -> PackedEmbedding | None:
    """The tables of the features in one; None unless each is a lookup of one id, all of one width."""
    tables = embedding_layer.embedding_layer
    layers = [tables.embedding_layers[name] for name in order]
    if any(type(layer) is not nn.Embedding for layer in layers) or len(tables.feature_encoders):
        return None
    if any(tables._feature_map.features[name]["type"] != "categorical" for name in order):
        return None
    if len({layer.embedding_dim for layer in layers}) > 1:
        return None
    return PackedEmbedding([layer.weight for layer in layers])
