"""The quadratic network of QNN-alpha: a stack of Khatri-Rao layers."""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.layers.khatri_rao import KhatriRaoLayer


class QuadraticNetwork(nn.Module):
    """X_{l+1} = dropout(KhatriRao_l(X_l)), l = 1..L (KDD 2025, figure 3): orders up to 2^L.

    Args:
        input_dim: D.
        num_layers: L.
        num_rows: M, rows of each layer's Khatri-Rao product.
        num_heads: H.
        num_fields: F, for the heads; see KhatriRaoLayer.
        head_layout: 'reference', 'aligned' or 'block'.
        activation: the mid-activation.
        batch_norm: batch norm before the mid-activation.
        dropout: inside each layer and again after it, as in the released code.
        fast, residual, khatri_rao: see KhatriRaoLayer.

    Shapes: (B, D) -> (B, D). Parameters: L * (M*D*D + M*D [+ 2*M*D with batch norm]).
    """

    def __init__(
        self,
        input_dim: int,
        num_layers: int = 3,
        num_rows: int = 2,
        num_heads: int = 1,
        num_fields: int = 1,
        head_layout: str = "reference",
        activation: str | None = "relu",
        batch_norm: bool = False,
        dropout: float = 0.1,
        fast: bool = True,
        residual: bool = True,
        khatri_rao: bool = True,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self.layers = nn.ModuleList(
            KhatriRaoLayer(
                input_dim,
                num_rows,
                num_heads,
                num_fields,
                head_layout,
                activation,
                batch_norm,
                dropout,
                fast=fast,
                residual=residual,
                khatri_rao=khatri_rao,
            )
            for _ in range(num_layers)
        )
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return self.passes(x, 1)[0]

    def passes(self, x: Tensor, count: int) -> list[Tensor]:
        """`count` passes with independent dropout masks; the first layer's projection is shared."""
        first, *rest = self.layers
        outputs = first.passes(x, count, self.dropout)
        for layer in rest:
            outputs = [layer.passes(out, 1, self.dropout)[0] for out in outputs]
        return list(outputs)
