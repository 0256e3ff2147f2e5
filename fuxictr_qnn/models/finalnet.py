"""FinalNet: one or two networks of factorized interaction layers, taught by their own mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers.weighting import weighted_loss
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import activation, check_activations
from fuxictr_qnn.models.requirements import require_dropout, require_equal_dims, require_widths
from fuxictr_qnn.models.two_branches import TwoBranchModel

BLOCK_TYPES, RESIDUAL_TYPES = ("1B", "2B"), ("concat", "sum")


class FinalNet(TwoBranchModel):
    r"""Factorized interaction layers on the embeddings; the order of the interactions doubles in each.

    .. math:: z_k = w_k^\top \mathrm{Block}_k(e) + b_k, \qquad
        \hat y = \sigma(z_1) \;\text{(1B)}, \quad \sigma((z_1 + z_2) / 2) \;\text{(2B)}

    A layer of a block is `FactorizedInteraction`. Two blocks also learn from the prediction of both:
    :math:`L = \mathrm{BCE}(\hat y, y) + \sum_k \mathrm{BCE}(\sigma(z_k), \mathrm{sg}(\hat y))`.

    Source: Zhu et al., "FINAL: Factorized Interaction Layer for CTR Prediction", SIGIR 2023. The optional
    gate in front of block 1 is FuxiCTR's.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, unless a feature sets its own; with `use_feature_gating` one for all.
        block_type: '1B' or '2B'.
        batch_norm: batch norm after each layer.
        use_feature_gating: block 1 also sees the embeddings times a linear map of the fields.
        block1_hidden_units, block2_hidden_units: widths of the layers.
        block1_hidden_activations, block2_hidden_activations: none, one name, or one a layer.
        block1_dropout, block2_dropout: after each layer.
        residual_type: 'concat' or 'sum'; see FactorizedInteraction.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: an unknown type or activation, no layers, odd widths with 'concat'.
    """

    def __init__(
        self,
        feature_map,
        model_id="FinalNet",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        block_type: str = "2B",
        batch_norm=True,
        use_feature_gating=False,
        block1_hidden_units: Sequence[int] = (64, 64, 64),
        block1_hidden_activations=None,
        block1_dropout=0.0,
        block2_hidden_units: Sequence[int] = (64, 64, 64),
        block2_hidden_activations=None,
        block2_dropout=0.0,
        residual_type: str = "concat",
        **kwargs,
    ):
        for key, value, known in (
            ("block_type", block_type, BLOCK_TYPES),
            ("residual_type", residual_type, RESIDUAL_TYPES),
        ):
            if value not in known:
                raise ValueError(unknown(key, value, known))
        if use_feature_gating:
            require_equal_dims(feature_map)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        fields, width = feature_map.num_fields, feature_map.sum_emb_out_dim()
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.gate = nn.Linear(fields, fields) if use_feature_gating else None
        options = {"batch_norm": batch_norm, "residual_type": residual_type}
        first = (block1_hidden_units, block1_hidden_activations, block1_dropout)
        self.block1 = block("block1", width * (2 if use_feature_gating else 1), *first, **options)
        self.fc1 = nn.Linear(block1_hidden_units[-1], 1)
        self.block2 = None
        if block_type == "2B":
            second = (block2_hidden_units, block2_hidden_activations, block2_dropout)
            self.block2 = block("block2", width, *second, **options)
            self.fc2 = nn.Linear(block2_hidden_units[-1], 1)
        self.finish(learning_rate, kwargs)

    def branches(self, X, count):
        x = self.embedding_layer(X, flatten_emb=True)
        x1 = x if self.gate is None else self._gated(x)
        if self.block2 is None:
            return [(self.fc1(self.block1(x1)),) for _ in range(count)]
        return [(self.fc1(self.block1(x1)), self.fc2(self.block2(x))) for _ in range(count)]

    def _gated(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, 2D): the embeddings, and each times a linear map of all, coordinate by coordinate."""
        e_BFE = x.unflatten(1, (self.gate.in_features, -1))
        gates_BFE = self.gate(e_BFE.transpose(1, 2)).transpose(1, 2)
        return torch.cat([x, (e_BFE * gates_BFE).flatten(1)], dim=1)

    def branch_loss(self, p, of_branches, y_true, weight):
        if self.block2 is None:
            return p.new_zeros(())
        return sum(weighted_loss(self.loss_fn, part, p.detach(), weight) for part in of_branches)


def block(
    key: str,
    input_dim: int,
    hidden_units: Sequence[int],
    activations: Any,
    dropout: float,
    batch_norm: bool,
    residual_type: str,
) -> nn.Sequential:
    """Factorized interaction, batch norm, activation and dropout for each width.

    Shapes: (B, input_dim) -> (B, hidden_units[-1]).

    Raises:
        ValueError: no layers, odd widths with 'concat', unknown activations; they name the key.
    """
    require_dropout(**{f"{key}_dropout": dropout})
    require_widths(**{f"{key}_hidden_units": hidden_units})
    check_activations(f"{key}_hidden_activations", activations, hidden_units)
    if residual_type == "concat" and any(units % 2 for units in hidden_units):
        raise ValueError(f"{key}_hidden_units must be even where halves are put together: {hidden_units}")
    names = activations if isinstance(activations, list) else [activations] * len(hidden_units)
    layers: list[nn.Module] = []
    for given, units, name in zip([input_dim, *hidden_units[:-1]], hidden_units, names, strict=True):
        layers.append(FactorizedInteraction(given, units, residual_type))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        if name is not None:
            layers.append(activation(f"{key}_hidden_activations", name, units))
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class FactorizedInteraction(nn.Module):
    r"""Products of two linear maps beside one of the maps: (B, input_dim) -> (B, output_dim).

    .. math:: u \Vert u \odot v \;\text{('concat')}, \qquad u + u \odot v \;\text{('sum')}, \qquad
        u = W_u x + b_u, \quad v = W_v x + b_v

    u and v have half the output's width, or with 'sum' all of it.
    """

    def __init__(self, input_dim: int, output_dim: int, residual_type: str = "concat"):
        super().__init__()
        self.residual_type = residual_type
        self.linear = nn.Linear(input_dim, output_dim * (2 if residual_type == "sum" else 1))

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.linear(x).chunk(2, dim=-1)
        return u + u * v if self.residual_type == "sum" else torch.cat([u, u * v], dim=-1)
