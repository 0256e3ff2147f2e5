"""DCN: a cross network with weight vectors beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.layers import CrossNet
from torch import nn

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron_beside
from fuxictr_qnn.models.requirements import require_dropout, require_positive


class DCN(RankModel):
    r"""A cross network and an MLP on the same embeddings :math:`X_1`, and one linear map of both.

    .. math:: \hat y = \sigma\big(w^\top (X_{L+1} \Vert \mathrm{MLP}(X_1)) + b\big), \qquad
        X_{l+1} = X_1 \, (w_l^\top X_l) + b_l + X_l

    Source: Wang et al., "Deep & Cross Network for Ad Click Predictions", ADKDD 2017.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own.
        dnn_hidden_units: widths of the MLP's hidden layers; none leaves the MLP out.
        dnn_activations: one name, or one a layer.
        num_cross_layers: L.
        net_dropout: dropout after each hidden layer of the MLP.
        batch_norm: batch norm before each activation of the MLP.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no cross layers, unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="DCN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_activations="ReLU",
        num_cross_layers=3,
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_positive(num_cross_layers=num_cross_layers)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.crossnet = CrossNet(width, num_cross_layers)
        self.dnn = perceptron_beside(width, dnn_hidden_units, dnn_activations, net_dropout, batch_norm)
        self.fc = nn.Linear(width + (dnn_hidden_units[-1] if dnn_hidden_units else 0), 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        cross = self.crossnet(x)
        if self.dnn is None:
            return [self.fc(cross)] * count
        return [self.fc(torch.cat([cross, self.dnn(x)], dim=-1)) for _ in range(count)]
