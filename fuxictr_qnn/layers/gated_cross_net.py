"""Cross network whose products pass a learned gate.

B batch, D width, L layers.
"""

from __future__ import annotations

from torch import Tensor, nn


class GatedCrossNet(nn.Module):
    r"""Every layer multiplies the input with a projection of what it was given and a gate on it.

    .. math:: X_{l+1} = X_1 \odot (W_l X_l + b_l) \odot \sigma(G_l X_l) + X_l

    Source: Wang et al., "Towards Deeper, Lighter and Interpretable Cross Network for CTR Prediction",
    CIKM 2023, the gated cross layer.

    Args:
        input_dim: D.
        num_layers: L.

    Shapes: (B, D) -> (B, D). Parameters: L * (2*D*D + D).

    Raises:
        ValueError: no layers.
    """

    def __init__(self, input_dim: int, num_layers: int = 3):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"the number of cross layers must be at least 1, got {num_layers}")
        self.cross_layers = nn.ModuleList(nn.Linear(input_dim, input_dim) for _ in range(num_layers))
        self.gates = nn.ModuleList(nn.Linear(input_dim, input_dim, bias=False) for _ in range(num_layers))

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out_BD = x_BD
        for linear, gate in zip(self.cross_layers, self.gates, strict=True):
            out_BD = x_BD * linear(out_BD) * gate(out_BD).sigmoid() + out_BD
        return out_BD
