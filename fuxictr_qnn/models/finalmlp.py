"""FinalMLP: two deep networks on gated embeddings, fused by a bilinear form.

B batch, D width of all embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.features import FeatureMap
from torch import Tensor, nn

from fuxictr_qnn.errors import nearest
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import embedding_widths, require_dropout, require_widths


class FinalMLP(RankModel):
    r"""Two MLPs, each on the embeddings as its gate lets them through.

    .. math:: h_k = \mathrm{MLP}_k(2 \sigma(g_k(c_k)) \odot e), \qquad
        \hat y = \sigma\big(b + w_1^\top h_1 + w_2^\top h_2 + \textstyle\sum_h h_1^h W^h h_2^h\big)

    The gate :math:`g_k` is an MLP on embeddings :math:`c_k` of its own of the context features, or on a
    learned vector where there are none; the bilinear form pairs the heads of both networks.

    Source: Mao et al., "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction", AAAI 2023.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own.
        mlp1_hidden_units, mlp2_hidden_units: widths of the hidden layers.
        mlp1_hidden_activations, mlp2_hidden_activations: one name, or one a layer.
        mlp1_dropout, mlp2_dropout: after each hidden layer.
        mlp1_batch_norm, mlp2_batch_norm: before each activation.
        use_fs: the gates (feature selection).
        fs_hidden_units: widths of the gates' hidden layers, with ReLU.
        fs1_context, fs2_context: names of the features that the gates look at.
        num_heads: of the bilinear form; must divide the last widths of both MLPs.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: unknown context features or activations, no hidden layers, heads that do not divide.
    """

    def __init__(
        self,
        feature_map,
        model_id="FinalMLP",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        mlp1_hidden_units: Sequence[int] = (64, 64, 64),
        mlp1_hidden_activations="ReLU",
        mlp1_dropout=0.0,
        mlp1_batch_norm=False,
        mlp2_hidden_units: Sequence[int] = (64, 64, 64),
        mlp2_hidden_activations="ReLU",
        mlp2_dropout=0.0,
        mlp2_batch_norm=False,
        use_fs=True,
        fs_hidden_units: Sequence[int] = (64,),
        fs1_context: Sequence[str] = (),
        fs2_context: Sequence[str] = (),
        num_heads=1,
        **kwargs,
    ):
        require_dropout(mlp1_dropout=mlp1_dropout, mlp2_dropout=mlp2_dropout)
        require_widths(mlp1_hidden_units=mlp1_hidden_units, mlp2_hidden_units=mlp2_hidden_units)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.gates = None
        if use_fs:
            contexts = {"fs1_context": fs1_context, "fs2_context": fs2_context}
            self.gates = nn.ModuleList(
                FeatureGate(feature_map, embedding_dim, key, names, fs_hidden_units)
                for key, names in contexts.items()
            )
        width = feature_map.sum_emb_out_dim()
        first = (mlp1_hidden_units, mlp1_hidden_activations, mlp1_dropout, mlp1_batch_norm)
        second = (mlp2_hidden_units, mlp2_hidden_activations, mlp2_dropout, mlp2_batch_norm)
        self.mlp1 = perceptron(width, *first, key="mlp1_hidden_activations")
        self.mlp2 = perceptron(width, *second, key="mlp2_hidden_activations")
        self.fusion = BilinearFusion(mlp1_hidden_units[-1], mlp2_hidden_units[-1], num_heads)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        x1, x2 = (x, x) if self.gates is None else (x * gate(X) for gate in self.gates)
        return [self.fusion(self.mlp1(x1), self.mlp2(x2)) for _ in range(count)]


class FeatureGate(nn.Module):
    r""":math:`2 \sigma(\mathrm{MLP}(c))`: features -> (B, D), or (1, D) without context features."""

    def __init__(
        self,
        feature_map: FeatureMap,
        embedding_dim: int,
        key: str,
        context: Sequence[str],
        hidden_units: Sequence[int],
    ):
        super().__init__()
        widths = embedding_widths(feature_map)
        for name in context:
            if name not in widths:
                raise ValueError(f"{key}: {name!r} is no feature of the model.{nearest(name, widths)}")
        self.context = None
        if context:
            self.context = FeatureEmbedding(
                feature_map, embedding_dim, required_feature_columns=list(context)
            )
        else:
            self.constant = nn.Parameter(torch.zeros(1, embedding_dim))
        given = sum(widths[name] for name in set(context)) or embedding_dim
        width = feature_map.sum_emb_out_dim()
        self.mlp = perceptron(given, hidden_units, "ReLU", 0.0, False, width, key="fs_hidden_units")

    def forward(self, X: dict[str, Tensor]) -> Tensor:
        context = self.constant if self.context is None else self.context(X, flatten_emb=True)
        return 2 * self.mlp(context).sigmoid()


class BilinearFusion(nn.Module):
    r""":math:`b + w_1^\top x + w_2^\top y + \sum_h x^h W^h y^h`: (B, D1) and (B, D2) -> (B, 1)."""

    def __init__(self, x_dim: int, y_dim: int, num_heads: int):
        super().__init__()
        if num_heads < 1 or x_dim % num_heads or y_dim % num_heads:
            raise ValueError(
                f"num_heads={num_heads} must divide the last widths of both networks, {x_dim} and {y_dim}"
            )
        self.w_x, self.w_y = nn.Linear(x_dim, 1), nn.Linear(y_dim, 1, bias=False)
        self.w_xy = nn.Parameter(torch.empty(num_heads, x_dim // num_heads, y_dim // num_heads))
        self.init_weights()

    def init_weights(self) -> None:
        """FuxiCTR's: all of the form's weights as one column of a Xavier-normal matrix."""
        nn.init.xavier_normal_(self.w_xy.data.view(-1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        heads = len(self.w_xy)
        x_BHI, y_BHJ = x.unflatten(-1, (heads, -1)), y.unflatten(-1, (heads, -1))
        projected_BHJ = torch.einsum("bhi,hij->bhj", x_BHI, self.w_xy)
        return self.w_x(x) + self.w_y(y) + (projected_BHJ * y_BHJ).sum((1, 2)).unsqueeze(1)
