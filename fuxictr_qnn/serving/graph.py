"""A trained model as one function of two matrices, for export: no dict of columns, nothing left to train.

B batch, F fields, C ids, E embedding dim.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import torch
from fuxictr.pytorch.layers import FeatureEmbedding, InnerProductInteraction
from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn

from fuxictr_qnn.data.loaders.storage import widths
from fuxictr_qnn.layers.folding import simplify
from fuxictr_qnn.layers.scoring import FoldedKhatriRao, PackedEmbedding
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.item_history import ItemHistoryModel
from fuxictr_qnn.models.scorer import Scorer, pack
from fuxictr_qnn.serving.fields import columns_of, fields_of

DTYPES = {"ids": np.int64, "numbers": np.float32}
INPUTS = tuple(DTYPES)


class Columns(dict):
    """A batch by feature, which also has the matrix that its ids are the columns of."""

    ids: Tensor | None = None


class PackedFeatures(nn.Module):
    """A FeatureEmbedding over all features of a batch as one lookup.

    Shapes: Columns with ids (B, C) -> (B, F, E), or (B, F * E) with `flatten_emb`.
    """

    def __init__(self, plain: FeatureEmbedding, packed: PackedEmbedding, fields: int):
        super().__init__()
        self.packed, self.fields = packed, fields
        self._plain = (plain,)  # no part of this module: its tables are in `packed`

    def forward(
        self, X: Columns, feature_source: Any = (), feature_type: Any = (), flatten_emb: bool = False
    ) -> Tensor:
        if getattr(X, "ids", None) is None or feature_source or feature_type:
            return self._plain[0](X, feature_source, feature_type, flatten_emb)
        rows = self.packed(X.ids)
        return rows if flatten_emb else rows.unflatten(1, (self.fields, -1))


class Served(nn.Module):
    """A snapshot of a model for export.

    Args:
        model: on any device; it stays as it is.
        sampling_rate: the share of negatives that its training data kept; None: all.

    Attributes:
        name: of the model's class.
        fields: where the features lie in the matrices.
        inputs: the names of the matrices that it takes, in their order.

    Shapes: ids (B, number of ids), numbers (B, number of numbers), each only where there are any -> (B,).
    """

    def __init__(self, model: BaseModel, sampling_rate: float | None = None):
        super().__init__()
        self.fields = fields_of(model.feature_map)
        self.inputs = [name for name in INPUTS if name in widths(self.fields)]
        self.name, self.sampling_rate = type(model).__name__, sampling_rate
        scorer = model.scorer() if isinstance(model, RankModel) else None
        names = [field.name for field in self.fields]
        if isinstance(scorer, Scorer) and scorer.features == names:
            self.scorer, self.model = copy.deepcopy(scorer), None
        else:
            self.scorer, self.model = None, _snapshot(model, names)
        for module in self.modules():
            if isinstance(module, FoldedKhatriRao):
                module.block = module.head_width
        self.cpu().float().eval()

    def forward(self, *matrices: Tensor) -> Tensor:
        p = self._predict(dict(zip(self.inputs, matrices, strict=True))).reshape(-1)
        return p if self.sampling_rate is None else p / (p + (1 - p) / self.sampling_rate)

    def _predict(self, matrices: dict[str, Tensor]) -> Tensor:
        if self.scorer is not None:
            return self.scorer.score(matrices["ids"])
        batch = Columns(columns_of(matrices, self.fields))
        if isinstance(self.model, RankModel):
            batch.ids = matrices.get("ids")
            return self.model.output_activation(self.model.logit(batch))
        return self.model(dict(batch))["y_pred"]

    def example(self, rows: int = 3) -> tuple[Tensor, ...]:
        """Matrices to trace it with: the padding's ids, and numbers."""
        found = widths(self.fields)
        return tuple(torch.zeros(rows, found[name], dtype=_TORCH[name]) for name in self.inputs)


_TORCH = {"ids": torch.int64, "numbers": torch.float32}


def _snapshot(model: BaseModel, names: list[str]) -> BaseModel:
    """A copy with the same predictions, in fewer operations."""
    optimizer = getattr(model, "optimizer", None)  # its state is of no use, and may be large
    memo = {} if optimizer is None else {id(optimizer): None}
    model = copy.deepcopy(model, memo).cpu().eval()
    model.device = torch.device("cpu")
    if isinstance(model, ItemHistoryModel):
        model.freeze_items()
        model.fast = False  # the fast paths ask for operators that ONNX does not have
    replacements = {InnerProductInteraction: _inner_products}
    if isinstance(model, RankModel):
        replacements[FeatureEmbedding] = partial(_packed, names=names)
    return simplify(model, replacements)


def _packed(module: FeatureEmbedding, names: list[str]) -> PackedFeatures | None:
    """The embedding of all features as one lookup, where each is ids."""
    if list(module.embedding_layer.embedding_layers) != names:
        return None
    packed = pack(module, names)
    return None if packed is None else PackedFeatures(module, packed, len(names))


class _InnerProducts(nn.Module):
    """Products of all pairs of embeddings, (B, F, E) -> (B, F(F-1)/2), without FuxiCTR's masked_select."""

    def __init__(self, fields: int):
        super().__init__()
        first, second = torch.triu_indices(fields, fields, offset=1)
        self.register_buffer("pairs", first * fields + second)

    def forward(self, e_BFE: Tensor) -> Tensor:
        return torch.bmm(e_BFE, e_BFE.transpose(1, 2)).flatten(1).index_select(1, self.pairs)


def _inner_products(module: InnerProductInteraction) -> _InnerProducts | None:
    return _InnerProducts(len(module.triu_mask)) if module._output_type == "inner_product" else None
