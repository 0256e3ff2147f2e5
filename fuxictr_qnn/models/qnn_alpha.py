"""QNN-alpha, the quadratic network for click-through-rate prediction."""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.layers.scoring import folded
from fuxictr_qnn.models.quadratic import QuadraticModel
from fuxictr_qnn.models.scorer import Scorer, pack


class QNNalpha(QuadraticModel):
    r"""Stacked multi-head Khatri-Rao layers on the embeddings, trained with the self-ensemble loss.

    .. math:: \hat y = \sigma(w^\top X_{L+1} + b), \quad X_1 = e_1 \Vert \dots \Vert e_F

    Source: Li et al., "Revisiting Feature Interactions from the Perspective of Quadratic Neural
    Networks for Click-through Rate Prediction", KDD 2025 (arXiv 2505.17999), sections 4.1-4.3.

    In training, two passes with independent dropout masks share the embeddings and the first
    layer's projection, and `add_loss` is the self-ensemble loss. At evaluation there is one pass.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        learning_rate: of the optimizer.
        **kwargs: QuadraticModel's: sizes, heads, activation, dropout, batch norm, the loss.

    Raises:
        ValueError: sizes that do not divide, unknown names, a task other than classification.
    """

    def __init__(self, feature_map, model_id="QNNalpha", gpu=-1, learning_rate=1e-3, **kwargs):
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.fc = nn.Linear(self.width, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X: dict[str, Tensor], count: int) -> list[Tensor]:
        x = self.embedding_layer(X, flatten_emb=True)
        return [self.fc(out) for out in self.network.passes(x, count)]

    def scorer(self) -> Scorer | None:
        features = list(self.embedding_layer.embedding_layer.embedding_layers)
        embedding = pack(self.embedding_layer, features)
        if embedding is None or not self.fast:
            return None
        layers = [folded(layer) for layer in self.network.layers]
        return Scorer(features, embedding, nn.Sequential(*layers, self.fc, self.output_activation))
