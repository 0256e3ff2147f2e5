"""The cross networks of DCNv3: linear or exponential growth of the order, half of a product masked.

B batch, D width, L layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fuxictr_qnn.layers.dropout import Dropout


class MaskedCrossNet(nn.Module):
    r"""Every layer multiplies with D/2 projections c, and with those that a mask of their own leaves.

    .. math:: X_{l+1} = Z_l \odot \big((c_l \Vert c_l \odot \max(0, \mathrm{LN}(c_l))) + b_l\big) + X_l,
        \qquad c_l = W_l X_l \in R^{D/2}, \quad b_l \in R^D

    The exponential network (ECN) has :math:`Z_l = X_l`, so that each layer doubles the order of the
    interactions; the linear one (LCN) has :math:`Z_l = X_1`, and each layer adds one.

    Source: Li et al., "DCNv3: Towards Next Generation Deep Cross Network for Click-Through Rate
    Prediction" (later "FCN: Fusing Exponential and Linear Cross Network"), arXiv 2407.13349. Where the
    bias stands, and that it starts from U(0, 1), is the authors' code's as far as known (not verified). Batch
    norm of c, in front of the mask, and dropout after each layer are options.

    Args:
        input_dim: D, even.
        num_layers: L.
        exponential: ECN; False is LCN.
        layer_norm: the mask is of LN(c); False takes c itself.
        batch_norm: batch norm of c.
        dropout: probability of dropping a coordinate of a layer's output.

    Shapes: (B, D) -> (B, D). Parameters: L * (D*D/2 + D [+ D with layer norm] [+ D with batch norm]).

    Raises:
        ValueError: no layers, an odd width, dropout outside [0, 1).
    """

    def __init__(
        self,
        input_dim: int,
        num_layers: int = 3,
        exponential: bool = True,
        layer_norm: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"the number of cross layers must be at least 1, got {num_layers}")
        if input_dim % 2:
            raise ValueError(f"half of the coordinates are masked, so their number must be even: {input_dim}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        half = input_dim // 2
        self.exponential = exponential
        self.cross_layers = nn.ModuleList(nn.Linear(input_dim, half, bias=False) for _ in range(num_layers))
        self.biases = nn.ParameterList(torch.rand(input_dim) for _ in range(num_layers))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(half) if batch_norm else nn.Identity() for _ in range(num_layers)
        )
        self.mask_norms = nn.ModuleList(
            nn.LayerNorm(half) if layer_norm else nn.Identity() for _ in range(num_layers)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out_BD = x_BD
        layers = zip(self.cross_layers, self.norms, self.mask_norms, self.biases, strict=True)
        for linear, norm, mask_norm, bias_D in layers:
            c = norm(linear(out_BD))  # (B, D/2)
            projected_BD = torch.cat([c, c * mask_norm(c).relu()], dim=-1) + bias_D
            base_BD = out_BD if self.exponential else x_BD
            out_BD = self.dropout(base_BD * projected_BD + out_BD)
        return out_BD
