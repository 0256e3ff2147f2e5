"""xDeepFM: vector-wise interactions of bounded degree beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr.pytorch.layers import CompressedInteractionNet, LogisticRegression

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron_beside
from fuxictr_qnn.models.requirements import require_dropout, require_equal_dims, require_linear_terms


class xDeepFM(RankModel):
    r"""Linear terms, a compressed interaction network (CIN) and an MLP on the same embeddings.

    .. math:: \hat y = \sigma\Big(\sum_f w_f(x_f) + \mathrm{CIN}(e)
        + \mathrm{MLP}(e_1 \Vert \dots \Vert e_F)\Big)

    Layer k of the CIN has :math:`H_k` rows :math:`X^k_h = \sum_{i,j} W^{k,h}_{ij} X^{k-1}_i \odot e_j
    + b^{k,h}`, :math:`X^0 = e`; each is summed over its coordinates, and a linear map of all sums is
    CIN(e).

    Source: Lian et al., "xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender
    Systems", KDD 2018; the biases of the CIN are FuxiCTR's.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        dnn_hidden_units: widths of the MLP's hidden layers; none leaves the MLP out.
        dnn_activations: one name, or one a layer.
        cin_hidden_units: :math:`H_1, H_2 \dots`, rows of each CIN layer.
        net_dropout: dropout after each hidden layer of the MLP.
        batch_norm: batch norm before each activation of the MLP.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: a CIN without layers, unknown activations, features of type embedding, or with
            different embedding dims.
    """

    def __init__(
        self,
        feature_map,
        model_id="xDeepFM",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_activations="ReLU",
        cin_hidden_units: Sequence[int] = (16, 16, 16),
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_linear_terms(feature_map)
        require_equal_dims(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.lr_layer = LogisticRegression(feature_map, use_bias=False)
        self.cin = cin(feature_map, cin_hidden_units)
        deep = (dnn_hidden_units, dnn_activations, net_dropout, batch_norm)
        self.dnn = perceptron_beside(feature_map.sum_emb_out_dim(), *deep, output_dim=1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        explicit = self.lr_layer(X) + self.cin(e_BFE)
        if self.dnn is None:
            return [explicit] * count
        return [explicit + self.dnn(e_BFE.flatten(1)) for _ in range(count)]


def cin(feature_map, hidden_units: Sequence[int]) -> CompressedInteractionNet:
    """FuxiCTR's CIN (B, F, E) -> (B, 1), refusing one without layers."""
    if not hidden_units or min(hidden_units) < 1:
        raise ValueError(f"cin_hidden_units needs widths of at least 1, got {list(hidden_units)}")
    return CompressedInteractionNet(feature_map.num_fields, list(hidden_units), output_dim=1)
