"""Cross network with an activation, batch norm and dropout inside each product.

B batch, D width, L layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.khatri_rao import ACTIVATIONS


class CrossNet(nn.Module):
    r"""Every layer multiplies the input x_1 with an activated projection of what it was given.

    .. math:: X_{l+1} = X_1 \odot \mathrm{drop}(\sigma(\mathrm{BN}(W_l X_l + b_l))) + X_l

    Without activation, batch norm and dropout this is the cross network of DCNv2 (Wang et al., WWW
    2021, equation 1, full-rank). With ReLU, batch norm and dropout it is the one beside QNN-alpha in Li
    et al., KDD 2025, table 5: the order follows QNN-alpha's own layer, and L * (D*D + 3*D) parameters,
    as released, means a bias and a batch norm in every layer.

    Args:
        input_dim: D.
        num_layers: L.
        activation: the mid-activation: 'relu', 'mish', 'gelu', 'relu6', 'sigmoid' or 'none'.
        batch_norm: batch norm before the activation.
        dropout: probability of dropping an activated projection.

    Shapes: (B, D) -> (B, D). Parameters: L * (D*D + D [+ 2*D with batch norm]).

    Raises:
        ValueError: no layers, an unknown activation, dropout outside [0, 1).
    """

    def __init__(
        self,
        input_dim: int,
        num_layers: int = 3,
        activation: str | None = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        name = str(activation or "none").lower()
        if num_layers < 1:
            raise ValueError(f"the number of cross layers must be at least 1, got {num_layers}")
        if name not in ACTIVATIONS:
            raise ValueError(unknown("mid-activation", activation, ACTIVATIONS))
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.cross_layers = nn.ModuleList(nn.Linear(input_dim, input_dim) for _ in range(num_layers))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(input_dim) if batch_norm else nn.Identity() for _ in range(num_layers)
        )
        self.activation = ACTIVATIONS[name]()
        self.dropout = Dropout(dropout)

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out_BD = x_BD
        for linear, norm in zip(self.cross_layers, self.norms, strict=True):
            out_BD = x_BD * self.dropout(self.activation(norm(linear(out_BD)))) + out_BD
        return out_BD

    def passes(self, x_BD: Tensor, count: int) -> list[Tensor]:
        """`count` passes with independent dropout masks; without dropout one serves for all.

        Batch norm wants each pass made: its running statistics move with every one.
        """
        if self.dropout.p == 0 and isinstance(self.norms[0], nn.Identity):
            return [self(x_BD)] * count
        return [self(x_BD) for _ in range(count)]
