"""DeepFM with QNN-alpha in place of the MLP."""

from __future__ import annotations

from fuxictr.pytorch.layers import FactorizationMachine
from torch import nn

from fuxictr_qnn.models.quadratic import QuadraticModel
from fuxictr_qnn.models.requirements import require_equal_dims, require_linear_terms


class QNNalpha_DeepFM(QuadraticModel):
    r"""A factorization machine beside QNN-alpha, on the same embeddings.

    .. math:: \hat y = \sigma(\lambda \, \mathrm{FM}(e) + w^\top X_{L+1} + b), \quad
        \mathrm{FM}(e) = b_0 + \sum_f w_f(x_f) + \sum_{f<g} \langle e_f, e_g \rangle

    The authors weigh the factorization machine, linear terms included, with :math:`\lambda = 1/2`;
    DeepFM itself has :math:`\lambda = 1`.

    Source: Li et al., KDD 2025, table 5; Guo et al., IJCAI 2017.

    The passes of the self-ensemble loss share the embeddings, the factorization machine and the first
    layer's projection.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        plain_backbone: DeepFM's own :math:`\lambda = 1`.
        learning_rate: of the optimizer.
        **kwargs: QuadraticModel's.

    Raises:
        ValueError: features of type embedding, or with different embedding dims, and QuadraticModel's.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNNalpha_DeepFM",
        gpu=-1,
        learning_rate=1e-3,
        plain_backbone=False,
        **kwargs,
    ):
        require_linear_terms(feature_map)
        require_equal_dims(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.fm = FactorizationMachine(feature_map)
        self.fm_weight = 1.0 if plain_backbone else 0.5
        self.fc = nn.Linear(self.width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        fm = self.fm_weight * self.fm(X, e_BFE)
        return [fm + self.fc(out) for out in self.network.passes(e_BFE.flatten(1), count)]
