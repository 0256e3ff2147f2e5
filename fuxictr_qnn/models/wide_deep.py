"""Wide & Deep: linear terms beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr.pytorch.layers import LogisticRegression

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_linear_terms


class WideDeep(RankModel):
    r"""One weight for each value of each feature, and an MLP on the embeddings.

    .. math:: \hat y = \sigma\Big(\sum_f w_f(x_f) + \mathrm{MLP}(e_1 \Vert \dots \Vert e_F)\Big)

    Source: Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016, without
    its hand-made cross features.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own.
        hidden_units: widths of the MLP's hidden layers.
        hidden_activations: one name, or one a layer.
        net_dropout: dropout after each hidden layer.
        batch_norm: batch norm before each activation.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: features of type embedding, unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="WideDeep",
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
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.lr_layer = LogisticRegression(feature_map, use_bias=False)
        self.dnn = perceptron(width, hidden_units, hidden_activations, net_dropout, batch_norm, output_dim=1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        wide = self.lr_layer(X)
        return [wide + self.dnn(x) for _ in range(count)]
