"""MaskNet: blocks whose inputs are multiplied with masks made from the embeddings.

B batch, F fields, E embedding dim, D = F * E.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.embedding import FeatureEmbedding
from fuxictr_qnn.models.perceptron import activation, perceptron
from fuxictr_qnn.models.requirements import (
    require_dropout,
    require_equal_dims,
    require_positive,
    require_widths,
)

MODEL_TYPES = ("SerialMaskNet", "ParallelMaskNet")


class MaskNet(RankModel):
    r"""Mask blocks one after another, or side by side below an MLP.

    A block on embeddings :math:`e` and an input :math:`h` is
    :math:`B(e, h) = \mathrm{ReLU}(\mathrm{LN}(W (m(e) \odot h)))`, with the instance-guided mask
    :math:`m(e) = W_2 \mathrm{ReLU}(W_1 e + b_1) + b_2`. With :math:`h_0` the layer-normed embeddings,

    =================  ======================================================================
    `SerialMaskNet`    :math:`\hat y = \sigma(w^\top h_L + b), \quad h_l = B_l(e, h_{l-1})`
    `ParallelMaskNet`  :math:`\hat y = \sigma(\mathrm{MLP}(B_1(e, h_0) \Vert \dots \Vert B_K(e, h_0)))`
    =================  ======================================================================

    Source: Wang et al., "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by
    Instance-Guided Mask", DLP-KDD 2021.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        embedding_dim: E, the same for all features.
        dnn_hidden_units: output widths of the serial blocks, or widths of the MLP on parallel ones.
        dnn_hidden_activations: the name of the blocks' and the MLP's activation, or none.
        model_type: 'SerialMaskNet' or 'ParallelMaskNet'.
        parallel_num_blocks: K.
        parallel_block_dim: output width of a parallel block.
        reduction_ratio: width of a mask's hidden layer, as a multiple of the width of the mask.
        emb_layernorm: layer norm of each field's embedding in :math:`h_0`.
        net_layernorm: layer norm in the blocks.
        net_dropout: dropout after each block and each hidden layer of the MLP.
        learning_rate: of the optimizer.
        **kwargs: RankModel's and BaseModel's (self_ensemble, embedding_regularizer ...).

    Raises:
        ValueError: an unknown type or activation, no blocks, no width, features with different embedding
            dims.
    """

    def __init__(
        self,
        feature_map,
        model_id="MaskNet",
        gpu=-1,
        learning_rate=1e-3,
        embedding_dim=10,
        dnn_hidden_units: Sequence[int] = (64, 64, 64),
        dnn_hidden_activations: str | None = "ReLU",
        model_type: str = "SerialMaskNet",
        parallel_num_blocks=1,
        parallel_block_dim=64,
        reduction_ratio=1.0,
        emb_layernorm=True,
        net_layernorm=True,
        net_dropout=0.0,
        **kwargs,
    ):
        embedding_width = require_equal_dims(feature_map)
        if model_type not in MODEL_TYPES:
            raise ValueError(unknown("model_type", model_type, MODEL_TYPES))
        require_dropout(net_dropout=net_dropout)
        require_positive(parallel_num_blocks=parallel_num_blocks, parallel_block_dim=parallel_block_dim)
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.emb_norm = FieldNorm(feature_map.num_fields, embedding_width) if emb_layernorm else nn.Identity()
        options = {
            "name": dnn_hidden_activations,
            "ratio": reduction_ratio,
            "layer_norm": net_layernorm,
            "dropout": net_dropout,
        }
        width = feature_map.sum_emb_out_dim()
        if model_type == "SerialMaskNet":
            require_widths(dnn_hidden_units=dnn_hidden_units)
            self.mask_net = SerialMaskNet(width, dnn_hidden_units, **options)
        else:
            blocks = [
                MaskBlock(width, width, parallel_block_dim, **options) for _ in range(parallel_num_blocks)
            ]
            self.mask_net = ParallelMaskNet(
                blocks,
                perceptron(
                    parallel_num_blocks * parallel_block_dim,
                    dnn_hidden_units,
                    dnn_hidden_activations,
                    net_dropout,
                    batch_norm=False,
                    output_dim=1,
                    key="dnn_hidden_activations",
                ),
            )
        self.finish(learning_rate, kwargs)

    def logits(self, X, count):
        e_BFE = self.embedding_layer(X)
        e_BD, h_BD = e_BFE.flatten(1), self.emb_norm(e_BFE).flatten(1)
        return [self.mask_net(e_BD, h_BD) for _ in range(count)]


class FieldNorm(nn.Module):
    """Layer norm of each field's embedding, with gains and biases of its own. (B, F, E) -> (B, F, E)."""

    def __init__(self, num_fields: int, embedding_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_fields, embedding_dim))
        self.bias = nn.Parameter(torch.zeros(num_fields, embedding_dim))

    def forward(self, e_BFE: Tensor) -> Tensor:
        return F.layer_norm(e_BFE, e_BFE.shape[-1:]) * self.weight + self.bias


class MaskBlock(nn.Module):
    """act(LN(W (mask(e) * h))): e (B, input_dim) and h (B, hidden_dim) -> (B, output_dim)."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        name: str | None,
        ratio: float,
        layer_norm: bool,
        dropout: float,
    ):
        super().__init__()
        aggregated = int(hidden_dim * ratio)
        if aggregated < 1:
            raise ValueError(f"reduction_ratio={ratio} leaves no width to a mask of width {hidden_dim}")
        self.mask_layer = nn.Sequential(
            nn.Linear(input_dim, aggregated), nn.ReLU(), nn.Linear(aggregated, hidden_dim)
        )
        layers: list[nn.Module] = [nn.Linear(hidden_dim, output_dim, bias=False)]
        if layer_norm:
            layers.append(nn.LayerNorm(output_dim))
        if name is not None:
            layers.append(activation("dnn_hidden_activations", name, output_dim))
        self.hidden_layer = nn.Sequential(*layers, nn.Dropout(dropout))

    def forward(self, e_BD: Tensor, h: Tensor) -> Tensor:
        return self.hidden_layer(self.mask_layer(e_BD) * h)


class SerialMaskNet(nn.Module):
    """Blocks one after another, each with its own mask, and a linear map: (B, D), (B, D) -> (B, 1)."""

    def __init__(self, width: int, units: Sequence[int], **options: Any):
        super().__init__()
        sizes = zip([width, *units[:-1]], units, strict=True)
        self.mask_blocks = nn.ModuleList(MaskBlock(width, given, made, **options) for given, made in sizes)
        self.fc = nn.Linear(units[-1], 1)

    def forward(self, e_BD: Tensor, h: Tensor) -> Tensor:
        for block in self.mask_blocks:
            h = block(e_BD, h)
        return self.fc(h)


class ParallelMaskNet(nn.Module):
    """Blocks side by side, and an MLP on what they give: (B, D), (B, D) -> (B, 1)."""

    def __init__(self, blocks: Sequence[MaskBlock], mlp: nn.Module):
        super().__init__()
        self.mask_blocks, self.dnn = nn.ModuleList(blocks), mlp

    def forward(self, e_BD: Tensor, h_BD: Tensor) -> Tensor:
        return self.dnn(torch.cat([block(e_BD, h_BD) for block in self.mask_blocks], dim=1))
