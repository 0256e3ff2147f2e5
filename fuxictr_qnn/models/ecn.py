"""ECN: the exponential cross network alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuxictr_qnn.layers import MaskedCrossNet
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.requirements import require_dropout, require_even_dims, require_positive


class ECN(RankModel):
    r"""A cross network whose layers double the order of the interactions, without any MLP.

    .. math:: X_{l+1} = X_l \odot \big((c_l \Vert c_l \odot \max(0, \mathrm{LN}(c_l))) + b_l\big) + X_l, \quad
        c_l = W_l X_l, \qquad \hat y = \sigma(w^\top X_{L+1} + b)

    :math:`X_1` holds the first halves of all embeddings, then their second halves.

    Source: Li et al., "DCNv3: Towards Next Generation Deep Cross Network for Click-Through Rate
    Prediction" (later "FCN: Fusing Exponential and Linear Cross Network"), arXiv 2407.13349.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, even, the same for all features.
        num_cross_layers: L.
        net_dropout: dropout after each layer.
        layer_norm: layer norm within the mask.
        batch_norm: batch norm of :math:`c_l`.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no layers, features with different or odd embedding dims.
    """

    def __init__(
        self,
        feature_map,
        model_id="ECN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        num_cross_layers=3,
        net_dropout=0.1,
        layer_norm=True,
        batch_norm=False,
        **kwargs,
    ):
        require_even_dims(feature_map)
        require_dropout(net_dropout=net_dropout)
        require_positive(num_cross_layers=num_cross_layers)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.cross_net = MaskedCrossNet(width, num_cross_layers, True, layer_norm, batch_norm, net_dropout)
        self.fc = nn.Linear(width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = halves_first(self.embedding_layer(X))
        return [self.fc(self.cross_net(x)) for _ in range(count)]


def halves_first(e_BFE: Tensor) -> Tensor:
    """(B, F, E) -> (B, D): the first halves of all embeddings, then their second halves.

    A masked product then reaches one half of every field.
    """
    return torch.cat([half.flatten(1) for half in e_BFE.chunk(2, dim=-1)], dim=1)
