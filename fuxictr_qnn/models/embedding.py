"""FuxiCTR's FeatureEmbedding, with one lookup for all features where each is a plain id."""

from __future__ import annotations

from typing import Any

from fuxictr.pytorch import layers
from torch import Tensor, nn

from fuxictr_qnn.layers.embedding import embedding_rows


class FeatureEmbedding(layers.FeatureEmbedding):
    """The same tables, weights and gradients as FuxiCTR's class; arguments as there.

    Where all features of the batch are categorical, of one width, without encoder and with a table each, rows
    and gradients of all of them are moved in one go.
    """

    def forward(
        self,
        X: dict[str, Tensor],
        feature_source: Any = (),
        feature_type: Any = (),
        flatten_emb: bool = False,
    ) -> Tensor:
        """(B, F, E), or (B, F * E) with `flatten_emb`."""
        names = [] if feature_source or feature_type else self._plain_features(X)
        if not names:
            return super().forward(X, feature_source, feature_type, flatten_emb)
        tables = [self.embedding_layer.embedding_layers[name] for name in names]
        rows = embedding_rows([X[name] for name in names], tables)
        return rows if flatten_emb else rows.unflatten(1, (len(names), -1))

    def _plain_features(self, X: dict[str, Tensor]) -> list[str]:
        """The features in their order; none where one of them is more than an id of its own."""
        dictionary = self.embedding_layer
        specs = dictionary._feature_map.features
        names = [name for name in specs if name in X and name in dictionary.embedding_layers]
        tables = [dictionary.embedding_layers[name] for name in names]
        plain = (
            all(
                type(table) is nn.Embedding and specs[name]["type"] == "categorical"
                for name, table in zip(names, tables, strict=True)
            )
            and not any(name in dictionary.feature_encoders for name in names)
            and len({table.embedding_dim for table in tables}) == 1
            and len(set(map(id, tables))) == len(tables)
        )
        return names if plain else []
