"""Factorization machine, the pairwise baseline."""

from __future__ import annotations

from fuxictr.pytorch.layers import FactorizationMachine

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.requirements import require_equal_dims, require_linear_terms


class FM(RankModel):
    r"""Factorization machine: linear terms and the inner products of all pairs of embeddings.

    .. math:: \hat y = \sigma\Big(b + \sum_f w_f(x_f) + \sum_{f<g} \langle e_f, e_g \rangle\Big)

    Source: Rendle, "Factorization Machines", ICDM 2010.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        learning_rate: of the optimizer.
        regularizer: L1/L2 of linear weights and embeddings (FuxiCTR's notation).
        **kwargs: BaseModel's.

    Raises:
        ValueError: features of type embedding, or with different embedding dims.
    """

    def __init__(
        self,
        feature_map,
        model_id="FM",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        regularizer=None,
        **kwargs,
    ):
        require_linear_terms(feature_map)
        require_equal_dims(feature_map)
        kwargs.setdefault("embedding_regularizer", regularizer)
        kwargs.setdefault("net_regularizer", regularizer)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.fm = FactorizationMachine(feature_map)
        self.finish(learning_rate, kwargs)

    def logit(self, X):
        return self.fm(X, self.embedding_layer(X))
