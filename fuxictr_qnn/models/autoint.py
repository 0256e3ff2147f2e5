"""AutoInt: self-attention between the embeddings of the fields, beside a deep network.

B batch, F fields, E embedding dim, A attention dim, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

from fuxictr.pytorch.layers import LogisticRegression, ScaledDotProductAttention
from torch import Tensor, nn

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron_beside
from fuxictr_qnn.models.requirements import (
    require_dropout,
    require_equal_dims,
    require_linear_terms,
    require_positive,
)


class AutoInt(RankModel):
    r"""Layers of self-attention over the fields; an MLP and linear terms may stand beside them.

    .. math:: \hat y = \sigma\big(w^\top (h_1 \Vert \dots \Vert h_F) + b
        [+ \mathrm{MLP}(e_1 \Vert \dots \Vert e_F)] [+ \textstyle\sum_f w_f(x_f)]\big)

    with h what the last layer makes of e; a layer is `FieldAttention`. With the MLP the model is known as
    AutoInt+.

    Source: Song et al., "AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural
    Networks", CIKM 2019. As in FuxiCTR, `attention_dim` is that of all heads together, and
    the residual is projected only where its width differs.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        dnn_hidden_units: widths of the MLP's hidden layers; none leaves the MLP out.
        dnn_activations: one name, or one a layer.
        attention_layers: layers of self-attention.
        num_heads: H; must divide attention_dim.
        attention_dim: A.
        net_dropout: dropout of attention weights, and after each hidden layer of the MLP.
        batch_norm: batch norm before each activation of the MLP.
        layer_norm: layer norm in each layer of attention.
        use_scale: scores are divided by sqrt(A / H).
        use_wide: linear terms beside.
        use_residual: each layer adds what it was given.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: heads that do not divide, no layers, features with different embedding dims, with
            `use_wide` features of type embedding, unknown activations.
    """

    def __init__(
        self,
        feature_map,
        model_id="AutoInt",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_activations="ReLU",
        attention_layers=2,
        num_heads=1,
        attention_dim=8,
        net_dropout=0.0,
        batch_norm=False,
        layer_norm=False,
        use_scale=False,
        use_wide=False,
        use_residual=True,
        **kwargs,
    ):
        width = require_equal_dims(feature_map)
        require_dropout(net_dropout=net_dropout)
        require_positive(attention_layers=attention_layers, num_heads=num_heads, attention_dim=attention_dim)
        if attention_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide attention_dim={attention_dim}")
        if use_wide:
            require_linear_terms(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.lr_layer = LogisticRegression(feature_map, use_bias=False) if use_wide else None
        deep = (dnn_hidden_units, dnn_activations, net_dropout, batch_norm)
        self.dnn = perceptron_beside(feature_map.sum_emb_out_dim(), *deep, output_dim=1)
        widths = [width] + [attention_dim] * (attention_layers - 1)
        options = (attention_dim, num_heads, net_dropout, use_residual, use_scale, layer_norm)
        self.self_attention = nn.Sequential(*(FieldAttention(given, *options) for given in widths))
        self.fc = nn.Linear(feature_map.num_fields * attention_dim, 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        wide = 0 if self.lr_layer is None else self.lr_layer(X)
        return [wide + self._interactions(e_BFE) for _ in range(count)]

    def _interactions(self, e_BFE: Tensor) -> Tensor:
        logit = self.fc(self.self_attention(e_BFE).flatten(1))
        return logit if self.dnn is None else logit + self.dnn(e_BFE.flatten(1))


class FieldAttention(nn.Module):
    r"""Every field attends to all fields, itself included.

    .. math:: h = \mathrm{ReLU}([\mathrm{LN}](o_1 \Vert \dots \Vert o_H [+ W_{res} x])), \qquad
        o_h = \mathrm{drop}(\mathrm{softmax}(Q_h K_h^\top [/ \sqrt{A/H}])) V_h

    with Q, K and V linear maps of x without bias. Shapes: (B, F, input_dim) -> (B, F, A).
    """

    def __init__(
        self,
        input_dim: int,
        attention_dim: int,
        num_heads: int,
        dropout: float,
        use_residual: bool,
        use_scale: bool,
        layer_norm: bool,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (attention_dim // num_heads) ** 0.5 if use_scale else None
        self.W_q, self.W_k, self.W_v = (nn.Linear(input_dim, attention_dim, bias=False) for _ in range(3))
        self.use_residual = use_residual
        self.W_res = nn.Identity()
        if use_residual and input_dim != attention_dim:
            self.W_res = nn.Linear(input_dim, attention_dim, bias=False)
        self.dot_attention = ScaledDotProductAttention(dropout)
        self.layer_norm = nn.LayerNorm(attention_dim) if layer_norm else nn.Identity()

    def forward(self, x_BFE: Tensor) -> Tensor:
        """(B, F, input_dim) -> (B, F, A)."""
        query, key, value = (
            w(x_BFE).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, F, A/H)
            for w in (self.W_q, self.W_k, self.W_v)
        )
        out, _ = self.dot_attention(query, key, value, scale=self.scale)
        out_BFA = out.transpose(1, 2).flatten(2)
        if self.use_residual:
            out_BFA = out_BFA + self.W_res(x_BFE)
        return self.layer_norm(out_BFA).relu()
