"""DIN: attention by a small network over target and history item, and a deep network on top."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from fuxictr.pytorch.layers import DIN_Attention
from torch import Tensor

from fuxictr_qnn.models.item_history import EmbeddedRows, ItemHistoryModel
from fuxictr_qnn.models.perceptron import activation, check_activations, perceptron
from fuxictr_qnn.models.requirements import require_dropout


class DIN(ItemHistoryModel):
    r"""Deep interest network.

    .. math:: \hat y = \sigma(\mathrm{MLP}(c \Vert t \Vert \sum_s a_s x_s)), \qquad
        a_s = \mathrm{MLP}_a(t \Vert x_s \Vert t - x_s \Vert t \odot x_s)

    with c the row's own features, t the target item and :math:`x_s` the items of the history.

    Source: Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.

    The fast path splits the first layer of the attention network by its four inputs: with weights
    :math:`[W_1, W_2, W_3, W_4]` it is :math:`(W_1 + W_3) t + (W_2 - W_3) x_s + W_4 (t \odot x_s)`,
    whose first two terms are computed once a row and once an item.

    Args:
        feature_map: FuxiCTR's FeatureMap with an item table; see ItemHistoryModel.
        embedding_dim: E.
        dnn_hidden_units: widths of the deep network.
        dnn_activations: its activations, one name or one a layer.
        attention_hidden_units: widths of the attention network.
        attention_hidden_activations: its activations; Dice is the paper's.
        attention_output_activation: of a score; none by default.
        attention_dropout: in the attention network.
        din_use_softmax: scores through a softmax over the history; the paper leaves them as they are.
        net_dropout: in the deep network.
        batch_norm: in the deep network.
        fast: the same arithmetic with less work; False runs the plain operators.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no item table, unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="DIN",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        dnn_hidden_units: tuple[int, ...] = (512, 128, 64),
        dnn_activations: str | list[str] = "ReLU",
        attention_hidden_units: tuple[int, ...] = (64,),
        attention_hidden_activations: str | list[str] = "Dice",
        attention_output_activation: str | None = None,
        attention_dropout=0.0,
        din_use_softmax=False,
        net_dropout=0.0,
        batch_norm=False,
        fast=True,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout, attention_dropout=attention_dropout)
        if attention_output_activation is not None:
            activation("attention_output_activation", attention_output_activation, 1)
        check_activations(
            "attention_hidden_activations", attention_hidden_activations, attention_hidden_units
        )
        super().__init__(feature_map, embedding_dim, model_id=model_id, gpu=gpu, **kwargs)
        self.fast = fast
        self.attention = DIN_Attention(
            self.item_dim,
            attention_units=list(attention_hidden_units),
            hidden_activations=attention_hidden_activations,
            output_activation=attention_output_activation,
            dropout_rate=attention_dropout,
            use_softmax=din_use_softmax,
        )
        width = self.context_dim + 2 * self.item_dim
        deep = (dnn_hidden_units, dnn_activations, net_dropout, batch_norm)
        self.mlp = perceptron(width, *deep, output_dim=1, key="dnn_activations")
        self.finish(learning_rate, kwargs)

    def logit(self, X: dict[str, Tensor]) -> Tensor:
        """Features -> (B, 1)."""
        rows = self.embed(X)
        return self.mlp(torch.cat([rows.context_BC, rows.target_BD, self.pooled_history(rows)], dim=1))

    def pooled_history(self, rows: EmbeddedRows) -> Tensor:
        """The attention's weighted sum of the history, (B, D)."""
        history_BSD = F.embedding(rows.index_BS, rows.table_UD)
        if not self.fast:
            return self.attention(rows.target_BD, history_BSD, rows.mask_BS)
        first, *rest = self.attention.attention_layer.mlp
        of_target, of_item, of_difference, of_product = first.weight.split(self.item_dim, dim=1)
        target_BA = F.linear(rows.target_BD, of_target + of_difference, first.bias)
        items_UA = F.linear(rows.table_UD, of_item - of_difference)
        by_target_BDA = (rows.target_BD.unsqueeze(1) * of_product).transpose(1, 2)
        z_BSA = torch.baddbmm(F.embedding(rows.index_BS, items_UA), history_BSD, by_target_BDA)
        z = (z_BSA + target_BA.unsqueeze(1)).flatten(0, 1)
        for module in rest:
            z = module(z)
        weights_BS = z.view(rows.index_BS.shape) * rows.mask_BS
        if self.attention.use_softmax:
            weights_BS = (weights_BS - 1e9 * ~rows.mask_BS).softmax(dim=1)
        return torch.einsum("bs,bsd->bd", weights_BS, history_BSD)
