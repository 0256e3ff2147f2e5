"""GDCN: a gated cross network, in front of or beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers import GatedCrossNet
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_positive, require_widths

STRUCTURES = ("parallel", "stacked")


class GDCN(RankModel):
    r"""A gated cross network on the embeddings :math:`X_1` and an MLP, in one of two structures.

    .. math:: X_{l+1} = X_1 \odot (W_l X_l + b_l) \odot \sigma(G_l X_l) + X_l, \qquad
        \hat y = \sigma(w^\top z + b)

    ============  ===================================================
    `parallel`    :math:`z = X_{L+1} \Vert \mathrm{MLP}(X_1)` (GDCN-P)
    `stacked`     :math:`z = \mathrm{MLP}(X_{L+1})` (GDCN-S)
    ============  ===================================================

    Source: Wang et al., "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction",
    CIKM 2023.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        model_structure: 'parallel' or 'stacked'.
        embedding_dim: E, unless a feature sets its own.
        dnn_hidden_units: widths of the MLP's hidden layers.
        dnn_activations: one name, or one a layer.
        num_cross_layers: L.
        net_dropout: dropout after each hidden layer of the MLP.
        batch_norm: batch norm before each activation of the MLP.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: an unknown structure or activation, no layers.
    """

    def __init__(
        self,
        feature_map,
        model_id="GDCN",
        gpu=-1,
        learning_rate=1e-3,
        model_structure: str = "parallel",
        embedding_dim=10,
        dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_activations="ReLU",
        num_cross_layers=3,
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        if model_structure not in STRUCTURES:
            raise ValueError(unknown("model_structure", model_structure, STRUCTURES))
        require_dropout(net_dropout=net_dropout)
        require_positive(num_cross_layers=num_cross_layers)
        require_widths(dnn_hidden_units=dnn_hidden_units)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.is_stacked = model_structure == "stacked"
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.cross_net = GatedCrossNet(width, num_cross_layers)
        self.dnn = perceptron(
            width, dnn_hidden_units, dnn_activations, net_dropout, batch_norm, key="dnn_activations"
        )
        self.fc = nn.Linear(dnn_hidden_units[-1] + (0 if self.is_stacked else width), 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        cross = self.cross_net(x)
        if self.is_stacked:
            return [self.fc(self.dnn(cross)) for _ in range(count)]
        return [self.fc(torch.cat([cross, self.dnn(x)], dim=-1)) for _ in range(count)]
