"""DCNv2: a cross network with matrix weights, in front of or beside a deep network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.layers import CrossNetMix, CrossNetV2
from torch import nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import perceptron
from fuxictr_qnn.models.requirements import require_dropout, require_positive

# model_structure -> whether there is an MLP on top of the cross network, and one beside it
STRUCTURES = {
    "crossnet_only": (False, False),
    "stacked": (True, False),
    "parallel": (False, True),
    "stacked_parallel": (True, True),
}


class DCNv2(RankModel):
    r"""A cross network on the embeddings x_1, combined with MLPs in one of four structures.

    .. math:: X_{l+1} = X_1 \odot (W_l X_l + b_l) + X_l, \qquad \hat y = \sigma(w^\top z + b)

    ====================  =====================================================
    `crossnet_only`       :math:`z = X_{L+1}`
    `stacked`             :math:`z = \mathrm{MLP}_s(X_{L+1})`
    `parallel`            :math:`z = X_{L+1} \Vert \mathrm{MLP}_p(X_1)`
    `stacked_parallel`    :math:`z = \mathrm{MLP}_s(X_{L+1}) \Vert \mathrm{MLP}_p(X_1)`
    ====================  =====================================================

    With `use_low_rank_mixture` the product is instead the mean of K experts in r dimensions, weighted by
    a softmax gate: :math:`X_1 \odot (U_k \tanh(C_k \tanh(V_k^\top X_l)) + b_l)`.

    Source: Wang et al., "DCN V2: Improved Deep & Cross Network", WWW 2021.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        model_structure: 'crossnet_only', 'stacked', 'parallel' or 'stacked_parallel'.
        use_low_rank_mixture: low-rank experts instead of full matrices.
        low_rank: r.
        num_experts: K.
        embedding_dim: E, unless a feature sets its own.
        stacked_dnn_hidden_units: widths of the MLP on top of the cross network.
        parallel_dnn_hidden_units: widths of the MLP beside it.
        dnn_activations: one name, or one a layer, for both MLPs.
        num_cross_layers: L.
        net_dropout: dropout after each hidden layer of the MLPs.
        batch_norm: batch norm before each activation of the MLPs.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: an unknown structure or activation, no widths for an MLP that the structure has, no
            cross layers, ranks or experts, dropout outside [0, 1).
    """

    def __init__(
        self,
        feature_map,
        model_id="DCNv2",
        gpu=-1,
        model_structure: str = "parallel",
        use_low_rank_mixture=False,
        low_rank=32,
        num_experts=4,
        learning_rate=1e-3,
        embedding_dim=10,
        stacked_dnn_hidden_units: Sequence[int] = (),
        parallel_dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_activations="ReLU",
        num_cross_layers=3,
        net_dropout=0.0,
        batch_norm=False,
        **kwargs,
    ):
        require_dropout(net_dropout=net_dropout)
        require_positive(num_cross_layers=num_cross_layers)
        if use_low_rank_mixture:
            require_positive(low_rank=low_rank, num_experts=num_experts)
        stacked, parallel = _structure(model_structure, stacked_dnn_hidden_units, parallel_dnn_hidden_units)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        width = feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        if use_low_rank_mixture:
            self.crossnet = CrossNetMix(width, num_cross_layers, low_rank=low_rank, num_experts=num_experts)
        else:
            self.crossnet = CrossNetV2(width, num_cross_layers)

        def mlp(hidden_units: Sequence[int]) -> nn.Module:
            return perceptron(
                width, hidden_units, dnn_activations, net_dropout, batch_norm, key="dnn_activations"
            )

        self.stacked_dnn = mlp(stacked_dnn_hidden_units) if stacked else nn.Identity()
        self.parallel_dnn = mlp(parallel_dnn_hidden_units) if parallel else None
        head_width = stacked_dnn_hidden_units[-1] if stacked else width
        self.fc = nn.Linear(head_width + (parallel_dnn_hidden_units[-1] if parallel else 0), 1)
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        cross = self.crossnet(x).view_as(x)  # CrossNetMix drops the batch dimension of a single row
        return [self.fc(self._deep(x, cross)) for _ in range(count)]

    def _deep(self, x, cross):
        top = self.stacked_dnn(cross)
        return top if self.parallel_dnn is None else torch.cat([top, self.parallel_dnn(x)], dim=-1)


def _structure(name: str, stacked_units: Sequence[int], parallel_units: Sequence[int]) -> tuple[bool, bool]:
    """Which MLPs the structure called `name` has."""
    if name not in STRUCTURES:
        raise ValueError(unknown("model_structure", name, STRUCTURES))
    stacked, parallel = STRUCTURES[name]
    wanted = {
        "stacked_dnn_hidden_units": stacked and not stacked_units,
        "parallel_dnn_hidden_units": parallel and not parallel_units,
    }
    missing = [key for key, is_missing in wanted.items() if is_missing]
    if missing:
        raise ValueError(f"model_structure {name!r} needs {' and '.join(missing)}")
    return stacked, parallel
