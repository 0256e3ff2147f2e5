"""DCNv2, its parallel structure, with QNN-alpha in place of the MLP."""

from __future__ import annotations

import torch
from torch import nn

from fuxictr_qnn.layers import CrossNet
from fuxictr_qnn.models.quadratic import QuadraticModel


class QNNalpha_DCNv2(QuadraticModel):
    r"""A cross network beside QNN-alpha, on the same embeddings.

    .. math:: \hat y = \sigma(w^\top (C_{c+1} \Vert X_{L+1}) + b)

    The authors' cross network takes over QNN-alpha's ReLU, batch norm (where `batch_norm` is on) and
    dropout: :math:`C_{l+1} = X_1 \odot \mathrm{drop}(\mathrm{ReLU}(\mathrm{BN}(W_l C_l + b_l))) + C_l`,
    :math:`C_1 = X_1`. DCNv2's own has none of them.

    Source: Li et al., KDD 2025, table 5; Wang et al., WWW 2021.

    The passes of the self-ensemble loss share the embeddings and QNN-alpha's first projection, and all
    of DCNv2's own cross network.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        num_cross_layers: c.
        plain_backbone: DCNv2's own cross network.
        net_dropout: dropout of both networks.
        batch_norm: batch norm of both networks.
        learning_rate: of the optimizer.
        **kwargs: QuadraticModel's.

    Raises:
        ValueError: no cross layers, and QuadraticModel's.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNNalpha_DCNv2",
        gpu=-1,
        learning_rate=1e-3,
        num_cross_layers=3,
        plain_backbone=False,
        net_dropout=0.1,
        batch_norm=False,
        **kwargs,
    ):
        super().__init__(
            feature_map, model_id=model_id, gpu=gpu, net_dropout=net_dropout, batch_norm=batch_norm, **kwargs
        )
        if plain_backbone:
            self.cross_net = CrossNet(self.width, num_cross_layers, activation="none")
        else:
            self.cross_net = CrossNet(self.width, num_cross_layers, "relu", batch_norm, net_dropout)
        self.fc = nn.Linear(2 * self.width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        both = zip(self.cross_net.passes(x, count), self.network.passes(x, count), strict=True)
        return [self.fc(torch.cat(pair, dim=-1)) for pair in both]
