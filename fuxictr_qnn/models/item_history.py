"""Models over a user's history of items, whose features stand in a table of items.

B batch, S positions of a history, D width of an item (its embedded features, one after another),
C width of the row's own features, N items with the padding, U rows of the embedded table.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fuxictr_qnn.layers.folding import simplify
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.requirements import embedding_widths

_MOST_NUMBERS = 1 << 28  # in a table of embedded items that a scorer keeps, a gigabyte of float32


class EmbeddedRows(NamedTuple):
    """A batch after the embeddings. Position s of history b holds row index[b, s] of the table."""

    context_BC: Tensor  # the row's own features
    target_BD: Tensor
    table_UD: Tensor
    index_BS: Tensor
    mask_BS: Tensor  # True = real item


class HistoryScorer:
    """An ItemHistoryModel at evaluation: items embedded once, if they are not too many, and parts folded.

    A snapshot of those; all other weights are the model's.

    Args:
        folded: the parts, by name.

    Shapes: batch -> (B, 1), probabilities.
    """

    def __init__(self, model: ItemHistoryModel, folded: Container[str]):
        self._model = copy.copy(model)
        self._model._buffers = dict(model._buffers)
        self._model._modules = {
            name: simplify(copy.deepcopy(module)) if name in folded else module
            for name, module in model._modules.items()
        }
        if model.num_items * model.item_dim <= _MOST_NUMBERS:
            self._model.freeze_items()

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        return self._model.forward(batch)["y_pred"]


class ItemHistoryModel(RankModel):
    """Base of models that read a target item, a history of items and features of the row.

    Features with `source: item` are looked up in the feature map's item table, for the target and
    for every item of the history; they share one embedding. Each item is embedded once a batch, not
    once a position. The table moves with the model, but is no parameter and is not in its weights.

    Args:
        feature_map: FuxiCTR's FeatureMap with `item_table` (feature -> values, row number = item id,
            row 0 = padding), `item_key` and `item_history`, the columns of the target and the history.
        embedding_dim: E, unless a feature sets its own.
        context_item_features: item features of the target that join the row's own features as well.
        **kwargs: RankModel's.

    Attributes:
        item_dim: D.
        context_dim: C, 0 where the row has no features of its own.

    Raises:
        ValueError: the feature map has no item table, or it has other features than the map says, or
            none of a name in `context_item_features`.
    """

    reads_item_table = True

    def __init__(
        self, feature_map, embedding_dim: int, context_item_features: tuple[str, ...] = (), **kwargs: Any
    ):
        super().__init__(feature_map, **kwargs)
        tables = _item_tables(feature_map, type(self).__name__)
        for name, values in tables.items():
            self.register_buffer(f"items_{name}", values, persistent=False)
        self.item_features = list(tables)
        self.num_items = len(tables[feature_map.item_key])
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        widths = embedding_widths(feature_map)
        self.item_dim = sum(widths[name] for name in tables)
        unknown = [name for name in context_item_features if name not in tables]
        if unknown:
            raise ValueError(
                f"context_item_features: {', '.join(unknown)} is no feature with source: item; those are "
                f"{', '.join(tables)}"
            )
        self.context_item_features = list(context_item_features)
        own = [name for name, spec in feature_map.features.items() if spec["type"] != "meta"]
        own = [name for name in own if name not in tables] + self.context_item_features
        self.context_dim = sum(widths[name] for name in own)
        self.register_buffer("embedded_items", None, persistent=False)

    def get_inputs(self, inputs, feature_source=None):
        """The batch's features on the device, with the history, which as a meta column FuxiCTR drops."""
        history = self.feature_map.item_history
        return super().get_inputs(inputs, feature_source) | {history: inputs[history].to(self.device)}

    def embed(self, X: dict[str, Tensor]) -> EmbeddedRows:
        """Features -> embeddings of the row, the target and the items in use."""
        key, history = self.feature_map.item_key, self.feature_map.item_history
        target_B, history_BS = X[key].long().view(-1), X[history].long()
        context = {name: x for name, x in X.items() if name not in self.item_features and name != history}
        context |= {name: self.items_for(name)[target_B] for name in self.context_item_features}
        if self.context_dim:
            context_BC = self.embedding_layer(context, flatten_emb=True)
        else:
            context_BC = self.items_for(key).new_zeros(target_B.shape[0], 0, dtype=torch.get_default_dtype())
        if self.embedded_items is not None:
            table_UD, target_index, index_BS = self.embedded_items, target_B, history_BS
        else:
            rows, target_index, index_BS = self._rows_in_use(target_B, history_BS)
            table_UD = self._embed_items(rows)
        return EmbeddedRows(
            context_BC, F.embedding(target_index, table_UD), table_UD, index_BS, history_BS != 0
        )

    @torch.no_grad()
    def freeze_items(self) -> None:
        """Embed all items once: from now on they are looked up, whatever becomes of the weights."""
        self.embedded_items = self._embed_items(slice(None))

    def _embed_items(self, rows: Any) -> Tensor:
        """(U, D) of these rows of the item table."""
        return self.embedding_layer(
            {name: self.items_for(name)[rows] for name in self.item_features}, flatten_emb=True
        )

    def items_for(self, name: str) -> Tensor:
        """The item table's column of a feature, one row an item."""
        return getattr(self, f"items_{name}")

    def _rows_in_use(self, target_B: Tensor, history_BS: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Items to embed, and where target and history stand among them; all items for a large batch."""
        if history_BS.numel() + target_B.numel() >= self.num_items:
            return slice(None), target_B, history_BS
        ids = torch.cat([target_B, history_BS.flatten()])
        rows, places = torch.unique(ids, return_inverse=True)
        return rows, places[: len(target_B)], places[len(target_B) :].view_as(history_BS)


def _item_tables(feature_map, model: str) -> dict[str, Tensor]:
    tables = getattr(feature_map, "item_table", None)
    if not tables:
        raise ValueError(
            f"{model} reads histories of items: the dataset needs item_info, the file of the items, and "
            "source: item at its features"
        )
    named = [name for name, spec in feature_map.features.items() if spec.get("source") == "item"]
    if set(named) != set(tables):
        raise ValueError(
            f"the item table holds {', '.join(tables)}, the features with source: item are {', '.join(named)}"
        )
    return {name: tables[name] for name in named}
