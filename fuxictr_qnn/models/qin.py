"""QIN: sparse target attention over a history of items, and a quadratic network on top."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers import ATTENTIONS, AdaptiveSparseTargetAttention, MeanPooling, QuadraticNetworkQIN
from fuxictr_qnn.models.item_history import EmbeddedRows, HistoryScorer, ItemHistoryModel
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_widths

NETWORKS = ("qnn", "mlp")
KINDS = (*ATTENTIONS, "mean")  # of attention


class QIN(ItemHistoryModel):
    r"""Quadratic interest network.

    .. math:: \hat y = \sigma(w^\top X_{L+1} + b), \qquad
        X_1 = c \Vert t \Vert \mathrm{ASTA}(t, x_1 \dots x_S)

    with c the row's own features, t the target item, :math:`x_s` the items of the history, ASTA the
    AdaptiveSparseTargetAttention and X passing through the QuadraticNetworkQIN.

    Source: Li et al., "Quadratic Interest Network for Multimodal Click-Through Rate Prediction", WWW 2025
    (arXiv 2504.17699), and the code released with it.

    Args:
        feature_map: FuxiCTR's FeatureMap with an item table; see ItemHistoryModel.
        embedding_dim: E.
        num_layers: L of the quadratic network.
        num_row: M, its rows.
        attention: relu, softmax, relu2, silu, or mean: the mean of the history instead.
        attention_dim: width of queries, keys and values; twice an item's by default.
        num_heads: of the attention.
        attention_dropout: on the attention weights.
        normalize_attention: divide the weights by the length of the history.
        attention_bias: a bias in the attention's output, as in the authors' later code.
        activation: post-activation of the quadratic network.
        mid_activation: the activation of its projections.
        batch_norm: batch norm before the post-activation (or the MLP's activations).
        net_dropout: of the quadratic network (or the MLP).
        network: qnn; or mlp, a multi-layer perceptron in its place.
        mlp_hidden_units: the perceptron's widths.
        fast: the same arithmetic with less work; False runs the plain operators.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no item table, sizes that do not divide, unknown names.
    """

    def __init__(
        self,
        feature_map,
        model_id="QIN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        num_layers=4,
        num_row=4,
        attention: str = "relu",
        attention_dim: int | None = None,
        num_heads=1,
        attention_dropout=0.0,
        normalize_attention=False,
        attention_bias=False,
        activation: str | None = "prelu",
        mid_activation: str | None = "none",
        batch_norm=True,
        net_dropout=0.1,
        network: str = "qnn",
        mlp_hidden_units: tuple[int, ...] = (1024, 512, 256),
        fast=True,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout, attention_dropout=attention_dropout)
        super().__init__(feature_map, embedding_dim, model_id=model_id, gpu=gpu, **kwargs)
        attention = str(attention).lower()
        for key, value, known in (("attention", attention, KINDS), ("network", network, NETWORKS)):
            if value not in known:
                raise ValueError(unknown(key, value, known))
        if network == "mlp":
            require_widths(mlp_hidden_units=mlp_hidden_units)
        self.attention_dropout, self.fast = attention_dropout, fast
        if attention == "mean":
            self.attention: nn.Module = MeanPooling()
        else:
            self.attention = AdaptiveSparseTargetAttention(
                self.item_dim,
                2 * self.item_dim if attention_dim is None else attention_dim,
                num_heads,
                attention,
                attention_dropout,
                normalize_attention,
                attention_bias,
                fast,
            )
        width = self.context_dim + 2 * self.item_dim
        if network == "qnn":
            self.network: nn.Module = QuadraticNetworkQIN(
                width, num_layers, num_row, net_dropout, batch_norm, activation, mid_activation, fast
            )
            self.fc = nn.Linear(width, 1)
        else:
            self.network = perceptron(width, mlp_hidden_units, "ReLU", net_dropout, batch_norm)
            self.fc = nn.Linear(mlp_hidden_units[-1], 1)
        self.finish(learning_rate, kwargs)

    def scorer(self) -> HistoryScorer | None:
        return HistoryScorer(self, {"network"}) if self.fast else None

    def logits(self, X: dict[str, Tensor], count: int) -> list[Tensor]:
        """`count` logits that share the embeddings and, without dropout in it, the attention."""
        rows = self.embed(X)
        if count > 1 and self.attention_dropout > 0:
            return [self._head(self._interest(rows), 1)[0] for _ in range(count)]
        return self._head(self._interest(rows), count)

    def _interest(self, rows: EmbeddedRows) -> Tensor:
        """X_1, (B, C + 2 D)."""
        pooled_BD = self.attention.from_table(rows.target_BD, rows.table_UD, rows.index_BS, rows.mask_BS)
        return torch.cat([rows.context_BC, rows.target_BD, pooled_BD], dim=1)

    def _head(self, x: Tensor, count: int) -> list[Tensor]:
        if isinstance(self.network, QuadraticNetworkQIN):
            return [self.fc(out) for out in self.network.passes(x, count)]
        return [self.fc(self.network(x)) for _ in range(count)]
