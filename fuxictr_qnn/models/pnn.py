"""PNN: a deep network on the embeddings and the products of their pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.layers import InnerProductInteraction

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_equal_dims


class PNN(RankModel):
    r"""An MLP on the embeddings and the inner products of all pairs of them.

    .. math:: \hat y = \sigma\big(\mathrm{MLP}(e_1 \Vert \dots \Vert e_F \Vert p)\big), \qquad
        p = (\langle e_f, e_g \rangle)_{f<g}

    Source: Qu et al., "Product-based Neural Networks for User Response Prediction", ICDM 2016, the inner
    product (IPNN). As in FuxiCTR the products go into the first layer by one weight each; the paper
    factorizes those weights.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        product_type: 'inner', the one that FuxiCTR has.
        hidden_units: widths of the MLP's hidden layers.
        hidden_activations: one name, or one a layer.
        net_dropout: dropout after each hidden layer.
        batch_norm: batch norm before each activation.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: a single feature, features with different embedding dims, another product, unknown
            activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="PNN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        product_type: str = "inner",
        hidden_units: Sequence[int] = (64, 64, 64),
        hidden_activations="ReLU",
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_equal_dims(feature_map)
        if product_type != "inner":
            raise ValueError(unknown("product_type", product_type, ["inner"]))
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        fields = feature_map.num_fields
        if fields < 2:
            raise ValueError("PNN multiplies pairs of features, so it needs at least two")
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.inner_product_layer = InnerProductInteraction(fields, output="inner_product")
        width = feature_map.sum_emb_out_dim() + fields * (fields - 1) // 2
        self.dnn = perceptron(width, hidden_units, hidden_activations, net_dropout, batch_norm, output_dim=1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        x = torch.cat([e_BFE.flatten(1), self.inner_product_layer(e_BFE)], dim=1)
        return [self.dnn(x) for _ in range(count)]
