"""The plain deep network on concatenated embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout


class DNN(RankModel):
    r"""A multi-layer perceptron on the concatenated embeddings: :math:`\hat y = \sigma(\mathrm{MLP}(e))`.

    Source: the deep part of Cheng et al., "Wide & Deep Learning", DLRS 2016.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own.
        hidden_units: widths of the hidden layers.
        hidden_activations: one name, or one a layer.
        net_dropout: dropout after each hidden layer.
        batch_norm: batch norm before each activation.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="DNN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        hidden_units: Sequence[int] = (400, 400, 400),
        hidden_activations="ReLU",
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.mlp = perceptron(width, hidden_units, hidden_activations, net_dropout, batch_norm, output_dim=1)
        self.finish(learning_rate, kwargs)

    def logit(self, X):
        return self.mlp(self.embedding_layer(X, flatten_emb=True))
