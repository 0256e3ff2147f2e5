"""What QNN-alpha and its hybrids share: embeddings and the quadratic network on them."""

from __future__ import annotations

from fuxictr_qnn.layers import QuadraticNetwork
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.requirements import require_dropout


class QuadraticModel(RankModel):
    """A RankModel with `embedding_layer`, `width` (D) and `network`, trained with the self-ensemble loss.

    Subclasses add what turns these into `logits` and end their constructor with `self.finish(...)`.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E. Heads (num_heads > 1) need it to be the same for all features.
        num_layers: L.
        num_row: M, rows of the Khatri-Rao product.
        num_heads: H; must divide embedding_dim.
        head_layout: 'reference' (as the released results were computed), 'aligned' or 'block'.
        activation: the mid-activation: relu, mish, gelu, relu6, sigmoid or none.
        residual, khatri_rao: False leaves out a part of each layer, for ablations; see KhatriRaoLayer.
        net_dropout: dropout inside each layer and after it.
        batch_norm: batch norm before the mid-activation.
        self_ensemble: False trains one pass with the plain loss; see RankModel for its options.
        fast: the same arithmetic with less work; False runs the plain operators.
        **kwargs: RankModel's and BaseModel's (consistency, embedding_regularizer, net_regularizer ...).

    Raises:
        ValueError: sizes that do not divide, unknown names, a task other than classification.
    """

    def __init__(
        self,
        feature_map,
        embedding_dim=10,
        num_layers=3,
        num_row=2,
        num_heads=1,
        head_layout: str = "reference",
        activation="relu",
        net_dropout=0.1,
        batch_norm=False,
        self_ensemble=True,
        fast=True,
        residual=True,
        khatri_rao=True,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        super().__init__(feature_map, self_ensemble=self_ensemble, **kwargs)
        self.fast = fast
        self.width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.network = QuadraticNetwork(
            self.width,
            num_layers=num_layers,
            num_rows=num_row,
            num_heads=num_heads,
            num_fields=feature_map.num_fields if num_heads > 1 else 1,
            head_layout=head_layout,
            activation=activation,
            batch_norm=batch_norm,
            dropout=net_dropout,
            fast=fast,
            residual=residual,
            khatri_rao=khatri_rao,
        )
