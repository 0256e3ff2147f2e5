"""The quadratic network of QIN: linear rows without an activation between projection and product.

Source: Li et al., "Quadratic Interest Network for Multimodal Click-Through Rate Prediction", WWW 2025
(arXiv 2504.17699); the order of the operations is that of the code released with it.

B batch, D width, M rows of the projection, L layers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers._pooled_rows import pooled_rows
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.khatri_rao import ACTIVATIONS

POST_ACTIVATIONS: dict[str, type[nn.Module]] = {"prelu": nn.PReLU, **ACTIVATIONS}


class QuadraticLayerQIN(nn.Module):
    r"""The input times M projections of itself, pooled over the projections.

    .. math:: y = \sum_{m=1}^{M} x \odot \mathrm{drop}(\sigma(W_m x + b_m))

    No residual; :math:`\sigma` is the identity in the paper. Without it the rows fold where nothing
    is dropped: :math:`\sum_m W_m` is one matrix, which the fast path uses.

    Args:
        input_dim: D.
        num_rows: M.
        dropout: probability of dropping an element of a projection.
        mid_activation: 'none', or relu, mish, gelu, relu6, sigmoid ("in some cases better").
        fast: False multiplies each row with the input, then pools.

    Shapes: (B, D) -> (B, D). Parameters: M*D*D + M*D.

    Raises:
        ValueError: sizes below 1, an unknown activation, a dropout outside [0, 1).
    """

    def __init__(
        self,
        input_dim: int,
        num_rows: int = 4,
        dropout: float = 0.0,
        mid_activation: str | None = "none",
        fast: bool = True,
    ):
        super().__init__()
        self.mid_activation = str(mid_activation or "none").lower()
        if input_dim < 1 or num_rows < 1:
            raise ValueError(f"input_dim and num_rows must be at least 1, got {input_dim} and {num_rows}")
        if self.mid_activation not in ACTIVATIONS:
            raise ValueError(unknown("mid-activation", mid_activation, ACTIVATIONS))
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.input_dim, self.num_rows, self.fast = input_dim, num_rows, fast
        self.linear = nn.Linear(input_dim, num_rows * input_dim)
        self.activation = ACTIVATIONS[self.mid_activation]()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return self.passes(x, 1)[0]

    def passes(self, x: Tensor, count: int) -> list[Tensor]:
        """`count` outputs for one x that differ in their dropout masks and share the projection."""
        dropout = self.dropout.p if self.training else 0.0
        if not self.fast:
            h_BMD = self.activation(self.linear(x)).unflatten(1, (self.num_rows, -1))
            return [(x.unsqueeze(1) * self.dropout(h_BMD)).sum(1) for _ in range(count)]
        if dropout == 0 and self.mid_activation == "none":
            y = x * self._folded(x)
            return [y] * count
        z_BMD = self.linear(x).unflatten(1, (self.num_rows, -1))
        relu = self.mid_activation == "relu"
        sums = pooled_rows(z_BMD if relu else self.activation(z_BMD), relu, dropout, count)
        return [x * s.to(x.dtype) for s in sums]

    def _folded(self, x: Tensor) -> Tensor:
        """sum_m (W_m x + b_m) as one product."""
        weight = self.linear.weight.unflatten(0, (self.num_rows, -1)).sum(0)
        bias = self.linear.bias.unflatten(0, (self.num_rows, -1)).sum(0)
        return F.linear(x, weight, bias)

    def extra_repr(self) -> str:
        return f"num_rows={self.num_rows}"


class QuadraticNetworkQIN(nn.Module):
    r"""L quadratic layers with batch norm, post-activation, dropout and residual.

    .. math:: X_{l+1} = X_l + \mathrm{drop}(\sigma(\mathrm{BN}(\mathrm{QuadraticLayerQIN}_l(X_l))))

    Args:
        input_dim: D.
        num_layers: L.
        num_rows: M.
        dropout: on the projections, and again after the activation.
        batch_norm: before the activation.
        activation: the post-activation; prelu (one learnt slope a layer), relu, mish, gelu, relu6,
            sigmoid or none.
        mid_activation: of the projections; see QuadraticLayerQIN.
        fast: see QuadraticLayerQIN.

    Shapes: (B, D) -> (B, D). Parameters: L * (M*D*D + M*D [+ 2*D with batch norm] [+ 1 with prelu]).

    Raises:
        ValueError: L below 1, an unknown activation.
    """

    def __init__(
        self,
        input_dim: int,
        num_layers: int = 4,
        num_rows: int = 4,
        dropout: float = 0.1,
        batch_norm: bool = True,
        activation: str | None = "prelu",
        mid_activation: str | None = "none",
        fast: bool = True,
    ):
        super().__init__()
        name = str(activation or "none").lower()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        if name not in POST_ACTIVATIONS:
            raise ValueError(unknown("activation", activation, POST_ACTIVATIONS))
        self.layers = nn.ModuleList(
            QuadraticLayerQIN(input_dim, num_rows, dropout, mid_activation, fast) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(input_dim) if batch_norm else nn.Identity() for _ in range(num_layers)
        )
        self.activations = nn.ModuleList(POST_ACTIVATIONS[name]() for _ in range(num_layers))
        self.dropout = Dropout(dropout) if fast else nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return self.passes(x, 1)[0]

    def passes(self, x: Tensor, count: int) -> list[Tensor]:
        """`count` passes with independent dropout masks; the first layer's projection is shared."""
        outputs = [x + self._after(0, y) for y in self.layers[0].passes(x, count)]
        for i, layer in enumerate(self.layers[1:], start=1):
            outputs = [out + self._after(i, layer(out)) for out in outputs]
        return outputs

    def _after(self, i: int, y: Tensor) -> Tensor:
        return self.dropout(self.activations[i](self.norms[i](y)))
