"""xDeepFM with QNN-alpha in place of the MLP."""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr.pytorch.layers import LogisticRegression
from torch import nn

from fuxictr_qnn.models.quadratic import QuadraticModel
from fuxictr_qnn.models.requirements import require_equal_dims, require_linear_terms
from fuxictr_qnn.models.xdeepfm import cin


class QNNalpha_xDeepFM(QuadraticModel):
    r"""Linear terms and a compressed interaction network beside QNN-alpha, on the same embeddings.

    .. math:: \hat y = \sigma\Big(\sum_f w_f(x_f) + \mathrm{CIN}(e) + w^\top X_{L+1} + b\Big)

    Source: Li et al., KDD 2025, table 5; Lian et al., KDD 2018 (see xDeepFM for the CIN).

    The passes of the self-ensemble loss share the embeddings, the linear terms, the CIN and the first
    layer's projection.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        cin_hidden_units: rows of each CIN layer.
        learning_rate: of the optimizer.
        **kwargs: QuadraticModel's.

    Raises:
        ValueError: a CIN without layers, features of type embedding, or with different embedding dims,
            and QuadraticModel's.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNNalpha_xDeepFM",
        gpu=-1,
        learning_rate=1e-3,
        cin_hidden_units: Sequence[int] = (16, 16, 16),
        **kwargs,
    ):
        require_linear_terms(feature_map)
        require_equal_dims(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.lr_layer = LogisticRegression(feature_map, use_bias=False)
        self.cin = cin(feature_map, cin_hidden_units)
        self.fc = nn.Linear(self.width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        explicit = self.lr_layer(X) + self.cin(e_BFE)
        return [explicit + self.fc(out) for out in self.network.passes(e_BFE.flatten(1), count)]
