"""QNN-alpha, the quadratic network for click-through-rate prediction."""

from __future__ import annotations

from fuxictr.pytorch.layers import FeatureEmbedding
from torch import Tensor, nn

from fuxictr_qnn.layers import QuadraticNetwork, SelfEnsembleLoss
from fuxictr_qnn.models.base import RankModel


class QNNalpha(RankModel):
    r"""Stacked multi-head Khatri-Rao layers on the embeddings, trained with the self-ensemble loss.

    .. math:: \hat y = \sigma(w^\top X_{L+1} + b), \quad X_1 = e_1 \Vert \dots \Vert e_F

    Source: Li et al., "Revisiting Feature Interactions from the Perspective of Quadratic Neural
    Networks for Click-through Rate Prediction", KDD 2025 (arXiv 2505.17999), sections 4.1-4.3.

    In training, two passes with independent dropout masks share the embeddings and the first
    layer's projection, and `add_loss` is the self-ensemble loss. At evaluation there is one pass.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E. Heads (num_heads > 1) need it to be the same for all features.
        num_layers: L.
        num_row: M, rows of the Khatri-Rao product.
        num_heads: H; must divide embedding_dim.
        head_layout: 'reference' (as the released results were computed), 'aligned' or 'block'.
        activation: the mid-activation: relu, mish, gelu, relu6, sigmoid or none.
        net_dropout: dropout inside each layer and after it.
        batch_norm: batch norm before the mid-activation.
        self_ensemble: False trains one pass with the plain loss.
        consistency: se, mse, kl, cosine or huber; what ties each pass to the mean of both.
        consistency_weight: its weight; the paper uses 1.
        fast: the same arithmetic with less work; False runs the plain operators.
        learning_rate: of the optimizer.
        **kwargs: BaseModel's (embedding_regularizer, net_regularizer ...).

    Raises:
        ValueError: sizes that do not divide, unknown names, a task other than classification.
    """

    def __init__(
        self,
        feature_map,
        model_id="QNNalpha",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        num_layers=3,
        num_row=2,
        num_heads=1,
        head_layout="reference",
        activation="relu",
        net_dropout=0.1,
        batch_norm=False,
        self_ensemble=True,
        consistency="se",
        consistency_weight=1.0,
        fast=True,
        **kwargs,
    ):
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        if self_ensemble and not isinstance(self.output_activation, nn.Sigmoid):
            raise ValueError(
                "the self-ensemble loss needs probabilities: set self_ensemble to false for regression"
            )
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.network = QuadraticNetwork(
            width,
            num_layers=num_layers,
            num_rows=num_row,
            num_heads=num_heads,
            num_fields=feature_map.num_fields if num_heads > 1 else 1,
            head_layout=head_layout,
            activation=activation,
            batch_norm=batch_norm,
            dropout=net_dropout,
            fast=fast,
        )
        self.fc = nn.Linear(width, 1)
        self.self_ensemble = SelfEnsembleLoss(consistency, consistency_weight) if self_ensemble else None
        self.finish(learning_rate, kwargs)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Batch -> {"y_pred": (B, 1)}; in training also the two passes, "y_pred_1" and "y_pred_2"."""
        x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        count = 2 if self.training and self.self_ensemble is not None else 1
        passes = [self.output_activation(self.fc(out)) for out in self.network.passes(x, count)]
        if count == 1:
            return {"y_pred": passes[0]}
        return {"y_pred": (passes[0] + passes[1]) / 2, "y_pred_1": passes[0], "y_pred_2": passes[1]}

    def add_loss(self, return_dict: dict[str, Tensor], y_true: Tensor) -> Tensor:
        """The self-ensemble loss where there are two passes, the configured loss otherwise."""
        if "y_pred_2" in return_dict:
            return self.self_ensemble(return_dict["y_pred_1"], return_dict["y_pred_2"], y_true)
        return super().add_loss(return_dict, y_true)
