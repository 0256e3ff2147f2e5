"""Logistic regression, the linear baseline."""

from __future__ import annotations

from fuxictr.pytorch.layers import LogisticRegression

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.requirements import require_linear_terms


class LR(RankModel):
    r"""Logistic regression: :math:`\hat y = \sigma(b + \sum_f w_f(x_f))`, one weight a feature value.

    Source: Richardson et al., "Predicting Clicks", WWW 2007.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        learning_rate: of the optimizer.
        regularizer: L1/L2 of all weights (FuxiCTR's notation); the weights are its embeddings.
        **kwargs: BaseModel's.

    Raises:
        ValueError: features of type embedding.
    """

    def __init__(self, feature_map, model_id="LR", gpu=-1, learning_rate=1e-3, regularizer=None, **kwargs):
        require_linear_terms(feature_map)
        kwargs.setdefault("embedding_regularizer", regularizer)
        kwargs.setdefault("net_regularizer", regularizer)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.lr_layer = LogisticRegression(feature_map, use_bias=True)
        self.finish(learning_rate, kwargs)

    def logit(self, X):
        return self.lr_layer(X)
