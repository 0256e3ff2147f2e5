"""A transformer over target and history, with a cross network and a deep network on top."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from fuxictr.pytorch.layers import CrossNetV2
from torch import Tensor, nn

from fuxictr_qnn.models.item_history import EmbeddedRows, ItemHistoryModel
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_positive, require_widths


class TransformerDCN(ItemHistoryModel):
    r"""Self-attention over the history with the target beside each step, then DCNv2.

    .. math:: h = \mathrm{Transformer}(x_1 \Vert t, \dots, x_S \Vert t), \qquad
        X = c \Vert t \Vert h_{S-k+1} \dots h_S \Vert \max_s h_s, \qquad
        \hat y = \sigma(w^\top (\mathrm{Cross}(X) \Vert \mathrm{MLP}(X)) + b)

    with c the row's own features, t the target item, :math:`x_s` the items of the history and k
    `last_outputs`. Padding is no step: it is not attended to, and its outputs are zero.

    Source: the shape of the winning entry (team momo) of the WWW 2025 MicroLens CTR challenge.

    Args:
        feature_map: FuxiCTR's FeatureMap with an item table; see ItemHistoryModel.
        embedding_dim: E.
        num_transformer_layers: of the transformer.
        num_heads: of its attention; must divide twice an item's width.
        feedforward_dim: width of its feed-forward networks.
        transformer_dropout: in the transformer.
        last_outputs: k, the last steps whose outputs go on to the top.
        num_cross_layers: of the cross network.
        dnn_hidden_units: widths of the deep network.
        dnn_activations: its activations.
        net_dropout: in the deep network.
        batch_norm: in the deep network.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: no item table, heads that do not divide, no step that goes on to the top, unknown
            activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="TransformerDCN",
        gpu=-1,
        learning_rate=5e-4,
        embedding_dim=10,
        num_transformer_layers=2,
        num_heads=1,
        feedforward_dim=256,
        transformer_dropout=0.2,
        last_outputs=16,
        num_cross_layers=3,
        dnn_hidden_units: tuple[int, ...] = (1024, 512, 256),
        dnn_activations: str | list[str] = "ReLU",
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout, transformer_dropout=transformer_dropout)
        require_positive(
            last_outputs=last_outputs,
            num_transformer_layers=num_transformer_layers,
            num_cross_layers=num_cross_layers,
            feedforward_dim=feedforward_dim,
        )
        require_widths(dnn_hidden_units=dnn_hidden_units)
        super().__init__(feature_map, embedding_dim, model_id=model_id, gpu=gpu, **kwargs)
        step_dim = 2 * self.item_dim
        if num_heads < 1 or step_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide {step_dim}, the width of two items")
        self.last_outputs = last_outputs
        self.transformer = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                step_dim, num_heads, feedforward_dim, transformer_dropout, batch_first=True
            ),
            num_transformer_layers,
            enable_nested_tensor=False,
        )
        width = self.context_dim + self.item_dim + (last_outputs + 1) * step_dim
        self.cross_net = CrossNetV2(width, num_cross_layers)
        self.mlp = perceptron(
            width, dnn_hidden_units, dnn_activations, net_dropout, batch_norm, key="dnn_activations"
        )
        self.fc = nn.Linear(width + dnn_hidden_units[-1], 1)
        self.finish(learning_rate, kwargs)

    def logit(self, X: dict[str, Tensor]) -> Tensor:
        """Features -> (B, 1)."""
        rows = self.embed(X)
        x = torch.cat([rows.context_BC, rows.target_BD, self.interest(rows)], dim=1)
        return self.fc(torch.cat([self.cross_net(x), self.mlp(x)], dim=1))

    def interest(self, rows: EmbeddedRows) -> Tensor:
        """The last outputs of the transformer and the maximum over all, (B, (k + 1) * 2 D)."""
        history_BSD = F.embedding(rows.index_BS, rows.table_UD)
        steps = torch.cat([history_BSD, rows.target_BD.unsqueeze(1).expand_as(history_BSD)], dim=-1)
        # A row of nothing but padding attends to it, for the softmax of nothing is NaN.
        padding = ~rows.mask_BS & rows.mask_BS.any(1, keepdim=True)
        real = rows.mask_BS.unsqueeze(-1)
        outputs = self.transformer(steps, src_key_padding_mask=padding)
        highest = outputs.masked_fill(~real, float("-inf")).amax(1).masked_fill(~real.any(1), 0.0)
        outputs = outputs.masked_fill(~real, 0.0)
        short = max(0, self.last_outputs - outputs.shape[1])
        last = F.pad(outputs[:, -self.last_outputs :], (0, 0, short, 0))
        return torch.cat([last.flatten(1), highest], dim=1)
