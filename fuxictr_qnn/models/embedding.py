"""FuxiCTR's FeatureEmbedding, with one lookup for all features that are plain ids."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from fuxictr.pytorch import layers
from torch import Tensor, nn

from fuxictr_qnn.layers.embedding import embedding_rows


class FeatureEmbedding(layers.FeatureEmbedding):
    """The same tables, weights and gradients as FuxiCTR's class; arguments as there.

    Rows and gradients of the categorical features that have a table of their own and no encoder are moved in
    one go; the other features (sequences, numbers, given vectors, shared tables) take FuxiCTR's path.
    """

    def forward(
        self,
        X: dict[str, Tensor],
        feature_source: Any = (),
        feature_type: Any = (),
        flatten_emb: bool = False,
    ) -> Tensor:
        """(B, F, E), or (B, F * E) with `flatten_emb`."""
        dictionary = self.embedding_layer
        names = [n for n in dictionary._feature_map.features if n in X and n in dictionary.embedding_layers]
        plain = set() if feature_source or feature_type else self._plain(names)
        if not plain:
            return super().forward(X, feature_source, feature_type, flatten_emb)
        others = dictionary({name: X[name] for name in names if name not in plain})
        together = [name for name in names if name in plain]
        tables = [dictionary.embedding_layers[name] for name in together]
        rows = embedding_rows([X[name] for name in together], tables)
        # neighbours stay together: each piece more is an operator more, here and in the backward pass
        runs = [(among, list(run)) for among, run in groupby(names, plain.__contains__)]
        width = tables[0].embedding_dim
        if not flatten_emb and any(other.shape[1:] != (width,) for other in others.values()):
            return super().forward(X, flatten_emb=False)  # which says that they cannot be stacked
        pieces = iter(rows.split([len(run) * width for among, run in runs if among], dim=1))
        parts = [
            part for among, run in runs for part in ([next(pieces)] if among else [others[n] for n in run])
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        return out if flatten_emb else out.unflatten(1, (len(names), width))

    def _plain(self, names: list[str]) -> set[str]:
        """Those of the features that are ids with a table of their own, of the width of the first such."""
        dictionary = self.embedding_layer
        specs, tables = dictionary._feature_map.features, dictionary.embedding_layers
        uses = [id(tables[name]) for name in names]
        plain = [
            name
            for name, table in zip(names, uses, strict=True)
            if type(tables[name]) is nn.Embedding
            and specs[name]["type"] == "categorical"
            and name not in dictionary.feature_encoders
            and uses.count(table) == 1
        ]
        return {name for name in plain if tables[name].embedding_dim == tables[plain[0]].embedding_dim}
