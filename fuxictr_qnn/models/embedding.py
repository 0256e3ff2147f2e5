"""FuxiCTR's FeatureEmbedding, with one lookup for all features that are plain ids."""

from __future__ import annotations

from collections import Counter
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


def draw_own_tables(model: nn.Module) -> None:
    """Draw the tables that features with `share_embedding` nevertheless have to themselves, as all others.

    FuxiCTR leaves them at torch's N(0, 1): the scalar weights of a linear term, which nothing shares, and a
    feature whose companion is not among those of a FeatureEmbedding.
    """
    for dictionary in [m for m in model.modules() if type(m) is layers.FeatureEmbeddingDict]:
        tables, specs = dictionary.embedding_layers, dictionary._feature_map.features
        uses = Counter(id(table) for table in tables.values())
        for name, table in tables.items():
            if "share_embedding" in specs[name] and type(table) is nn.Embedding and uses[id(table)] == 1:
                weight = table.weight if table.padding_idx is None else table.weight[1:]
                dictionary.embedding_initializer(weight)
