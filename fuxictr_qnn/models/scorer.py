"""A trained model as a function from ids to probabilities, with the least work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.layers import FeatureEmbedding, MaskedAveragePooling, MaskedSumPooling
from torch import Tensor, nn

from fuxictr_qnn.layers.scoring import PackedEmbedding, Tokens

# Type and encoder of a feature -> whether the rows of its ids are averaged; None: it has one id.
_IS_MEAN = {
    ("categorical", None): None,
    ("sequence", MaskedAveragePooling): True,
    ("sequence", MaskedSumPooling): False,
}
_ROWS = 1024  # scored at a time on a CPU: what a layer makes of them stays in the cache


class Scorer(nn.Module):
    """Embeddings in one table, then a network on them: a snapshot of a model at evaluation.

    Args:
        features: names of the columns, in the order of the fields.
        embedding: ids (B, C) -> (B, D).
        network: (B, D) -> (B, 1), probabilities.

    Shapes: batch with (B,), or (B, S) of a sequence, for each feature -> (B, 1).
    """

    def __init__(self, features: Sequence[str], embedding: PackedEmbedding, network: nn.Module):
        super().__init__()
        self.features, self.embedding, self.network = list(features), embedding, network
        self.eval()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        device = self.embedding.table.device
        ids = torch.column_stack([batch[name] for name in self.features]).to(device)
        if device.type != "cpu" or len(ids) <= _ROWS:
            return self.score(ids)
        return torch.cat([self.score(part) for part in ids.split(_ROWS)])

    def score(self, ids: Tensor) -> Tensor:
        """ids (B, C) -> probabilities (B, 1)."""
        return self.network(self.embedding(ids))


def pack(embedding_layer: FeatureEmbedding, order: Sequence[str]) -> PackedEmbedding | None:
    """The tables of the features in one; None unless each is a lookup of ids, all of one width."""
    dictionary = embedding_layer.embedding_layer
    layers = [dictionary.embedding_layers[name] for name in order]
    if any(type(layer) is not nn.Embedding for layer in layers):
        return None
    if len({layer.embedding_dim for layer in layers}) > 1:
        return None
    specs, encoders = dictionary._feature_map.features, dictionary.feature_encoders
    tokens = []
    for name in order:
        kind = specs[name]["type"], type(encoders[name]) if name in encoders else None
        if kind not in _IS_MEAN:
            return None
        is_mean = _IS_MEAN[kind]
        tokens.append(None if is_mean is None else Tokens(specs[name]["max_len"], is_mean))
    return PackedEmbedding([layer.weight for layer in layers], tokens)
