"""DCNv3, also known as FCN: an exponential and a linear cross network, and no deep network."""

from __future__ import annotations

import torch
from torch import nn

from fuxictr_qnn.layers import MaskedCrossNet
from fuxictr_qnn.layers.weighting import weighted_loss
from fuxictr_qnn.models.ecn import halves_first
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.requirements import require_dropout, require_even_dims, require_positive
from fuxictr_qnn.models.two_branches import TwoBranchModel


class DCNv3(TwoBranchModel):
    r"""The mean of the logits of two cross networks on the same embeddings, trained with the Tri-BCE loss.

    .. math:: z_D = w_D^\top \mathrm{ECN}(X_1) + b_D, \quad z_S = w_S^\top \mathrm{LCN}(X_1) + b_S, \qquad
        \hat y = \sigma((z_D + z_S) / 2)

    ECN, the deep one, and LCN, the shallow one, are `MaskedCrossNet`; :math:`X_1` holds the first halves of
    all embeddings, then their second halves. The network that does worse than both together learns more:

    .. math:: L = L(\hat y) + w_D L(\sigma(z_D)) + w_S L(\sigma(z_S)), \qquad
        w_k = \max(0, L(\sigma(z_k)) - L(\hat y))

    with L the cross-entropy to the label. The gradient goes through the weights, which are functions of
    the predictions, unless `detach_weights`.

    Source: Li et al., "DCNv3: Towards Next Generation Deep Cross Network for Click-Through Rate
    Prediction" (later "FCN: Fusing Exponential and Linear Cross Network"), arXiv 2407.13349.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, even, the same for all features.
        num_deep_cross_layers: layers of ECN.
        num_shallow_cross_layers: layers of LCN.
        deep_net_dropout: dropout after each layer of ECN.
        shallow_net_dropout: dropout after each layer of LCN.
        layer_norm: layer norm within the masks.
        batch_norm: batch norm of the projections.
        tri_bce: False trains with the plain loss.
        detach_weights: the weights of the Tri-BCE loss are constants of the gradient.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no layers, features with different or odd embedding dims.
    """

    def __init__(
        self,
        feature_map,
        model_id="DCNv3",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        num_deep_cross_layers=4,
        num_shallow_cross_layers=4,
        deep_net_dropout=0.1,
        shallow_net_dropout=0.1,
        layer_norm=True,
        batch_norm=False,
        tri_bce=True,
        detach_weights=False,
        **kwargs,
    ):
        require_even_dims(feature_map)
        require_dropout(deep_net_dropout=deep_net_dropout, shallow_net_dropout=shallow_net_dropout)
        require_positive(
            num_deep_cross_layers=num_deep_cross_layers, num_shallow_cross_layers=num_shallow_cross_layers
        )
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.tri_bce, self.detach_weights = tri_bce, detach_weights
        width, norms = feature_map.sum_emb_out_dim(), (layer_norm, batch_norm)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.ecn = MaskedCrossNet(width, num_deep_cross_layers, True, *norms, deep_net_dropout)
        self.lcn = MaskedCrossNet(width, num_shallow_cross_layers, False, *norms, shallow_net_dropout)
        self.fc_deep, self.fc_shallow = nn.Linear(width, 1), nn.Linear(width, 1)
        self.finish(learning_rate, kwargs)

    def branches(self, X, count):
        x = halves_first(self.embedding_layer(X))
        return [(self.fc_deep(self.ecn(x)), self.fc_shallow(self.lcn(x))) for _ in range(count)]

    def branch_loss(self, p, of_branches, y_true, weight):
        if not self.tri_bce:
            return p.new_zeros(())
        together = weighted_loss(self.loss_fn, p, y_true, weight)
        alone = torch.stack([weighted_loss(self.loss_fn, part, y_true, weight) for part in of_branches])
        behind = (alone - together).relu()
        return ((behind.detach() if self.detach_weights else behind) * alone).sum()
