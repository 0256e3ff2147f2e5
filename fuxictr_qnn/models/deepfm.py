"""DeepFM: a factorization machine beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr.pytorch.layers import FactorizationMachine

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_equal_dims, require_linear_terms


class DeepFM(RankModel):
    r"""A factorization machine and an MLP on the same embeddings.

    .. math:: \hat y = \sigma\Big(b + \sum_f w_f(x_f) + \sum_{f<g} \langle e_f, e_g \rangle
        + \mathrm{MLP}(e_1 \Vert \dots \Vert e_F)\Big)

    Source: Guo et al., "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction",
    IJCAI 2017.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        hidden_units: widths of the MLP's hidden layers.
        hidden_activations: one name, or one a layer.
        net_dropout: dropout after each hidden layer.
        batch_norm: batch norm before each activation.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: features of type embedding, or with different embedding dims; unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="DeepFM",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        hidden_units: Sequence[int] = (64, 64, 64),
        hidden_activations="ReLU",
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_linear_terms(feature_map)
        require_equal_dims(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.fm = FactorizationMachine(feature_map)
        self.mlp = perceptron(width, hidden_units, hidden_activations, net_dropout, batch_norm, output_dim=1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        fm = self.fm(X, e_BFE)
        return [fm + self.mlp(e_BFE.flatten(1)) for _ in range(count)]
