"""The multi-head Khatri-Rao product layer of QNN-alpha.

Source: Li et al., "Revisiting Feature Interactions from the Perspective of Quadratic Neural
Networks for Click-through Rate Prediction", KDD 2025, equations 8-10.

B batch, F fields, E embedding dim, D = F*E, M rows of the Khatri-Rao product, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers._pooled_rows import dropped, pooled_rows, row_products
from fuxictr_qnn.layers.block_linear import BlockLinear

HEAD_LAYOUTS = ("reference", "aligned", "block")

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
    "relu6": nn.ReLU6,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


class _Gram(torch.autograd.Function):
    """x (B, D) -> x^T x (D, D), whose gradient x (G + G^T) takes one product instead of autograd's two."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.t() @ x

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x @ (grad + grad.t())


class KhatriRaoLayer(nn.Module):
    r"""Quadratic layer: every head multiplies its slice of x with M activated projections of x.

    .. math:: \Psi(X^h) = X^h + \sum_{m=1}^{M} X^h \odot \mathrm{drop}(\sigma(\mathrm{BN}(W_m^h X + b_m^h)))

    (KDD 2025, equation 10; the row pooling is equation 8.) Head h owns the h-th part of each
    field's embedding. The head layouts:

    - `reference`: what the released results were computed with. Every head's projection sees all
      of X; the product is laid out head by head, while the residual keeps the order of the fields,
      so for H > 1 the two do not refer to the same coordinates.
    - `aligned`: as printed; product and residual both keep the order of the fields. It computes
      what one head computes, up to a permutation of the rows of W.
    - `block`: head h's projection sees its own slice only (block-diagonal W). This has the
      M*D*D/H weights and products that the paper claims for heads.

    Args:
        input_dim: D.
        num_rows: M, rows of the Khatri-Rao product.
        num_heads: H; must divide the embedding dim E = D / F.
        num_fields: F; must divide D. 1 makes the heads contiguous slices of x.
        head_layout: 'reference', 'aligned' or 'block'.
        activation: the mid-activation: 'relu', 'mish', 'gelu', 'relu6', 'sigmoid' or 'none'.
        batch_norm: batch normalisation of the M*D projections, before the activation.
        dropout: probability of dropping an activated projection.
        fast: the same arithmetic with less work (rows pooled before the product, batch norm
            folded into the weights, fused dropout); False runs the plain operators.
        residual: False leaves out the term X^h (the paper's ablation "w/o Res").
        khatri_rao: False leaves out the factor X^h of the product, so that the activated projections are
            added up as they are ("w/o KRP": no interaction is left but the activation's).

    Shapes: (B, D) -> (B, D).

    Raises:
        ValueError: sizes that do not divide, an unknown layout or activation.
    """

    def __init__(
        self,
        input_dim: int,
        num_rows: int = 2,
        num_heads: int = 1,
        num_fields: int = 1,
        head_layout: str = "reference",
        activation: str | None = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        fast: bool = True,
        residual: bool = True,
        khatri_rao: bool = True,
    ):
        super().__init__()
        self.activation_name = str(activation or "none").lower()
        _check(input_dim, num_rows, num_heads, num_fields, head_layout, self.activation_name, dropout)
        self.input_dim, self.num_rows, self.num_heads = input_dim, num_rows, num_heads
        self.num_fields, self.head_layout = num_fields, head_layout
        self.fast, self.residual, self.khatri_rao = fast, residual, khatri_rao
        width, head_dim = num_rows * input_dim, input_dim // num_heads
        if head_layout == "block" and num_heads > 1:
            self.linear: nn.Module = BlockLinear(num_heads, head_dim, num_rows * head_dim)
        else:
            self.linear = nn.Linear(input_dim, width)
        self.bn = nn.BatchNorm1d(width) if batch_norm else None
        self.activation = ACTIVATIONS[self.activation_name]()
        self.dropout = nn.Dropout(dropout)
        moves = num_heads > 1 and head_layout == "reference"  # the product's factors stand elsewhere in x
        order = self._split_heads(torch.arange(input_dim)[None])[0] if moves else None
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return self.passes(x, 1)[0]

    def passes(self, x: Tensor, count: int, dropout_after: float = 0.0) -> tuple[Tensor, ...]:
        """`count` forward passes over the same x that differ only in their dropout masks.

        They share projection, batch norm and activation; the running statistics of batch norm
        move `count` times, as separate passes would move them.

        Args:
            dropout_after: probability of dropping an element of an output; in training only.
        """
        if x.ndim != 2 or x.shape[1] != self.input_dim:
            raise ValueError(
                f"KhatriRaoLayer expects (batch, {self.input_dim}), the fields' embeddings "
                f"flattened to one row; got {tuple(x.shape)}"
            )
        after = dropout_after if self.training else 0.0
        # The aligned product keeps the fields' order: formed head-major, like its residual, and put back.
        outs = self._outs_fast(x, count, after) if self.fast else self._outs_plain(x, count, after)
        return tuple(out if self.head_layout == "reference" else self._join_heads(out) for out in outs)

    def _outs_plain(self, x: Tensor, count: int, after: float) -> list[Tensor]:
        x_heads = self._split_heads(x)
        h = self.activation(self._projection(x, x_heads, count))
        sums = [self._rows_first(self.dropout(h)).sum(dim=1) for _ in range(count)]
        return [F.dropout(self._combined(x, x_heads, s), after) for s in sums]

    def _outs_fast(self, x: Tensor, count: int, after: float) -> tuple[Tensor, ...]:
        relu, whole = self.activation_name == "relu", self.residual and self.khatri_rao
        x_heads = x if whole and self.head_layout == "reference" else self._split_heads(x)
        rows_BMD, bias = self._rows_fast(x, x_heads, count)
        if bias is not None and not (relu and whole):
            rows_BMD, bias = rows_BMD + bias.view(rows_BMD.shape[1:]), None
        rows_BMD = rows_BMD if relu else self.activation(rows_BMD)
        dropout = self.dropout.p if self.training else 0.0
        if whole:
            return row_products(rows_BMD, bias, x_heads, self.order, relu, (dropout, after), count)
        sums = pooled_rows(rows_BMD, relu, dropout, count)
        return tuple(dropped(self._combined(x, x_heads, s), after) for s in sums)

    def _combined(self, x: Tensor, x_heads: Tensor, s: Tensor) -> Tensor:
        """Residual and product with the pooled rows s (B, D)."""
        residual = x if self.head_layout == "reference" else x_heads
        residual = residual if self.residual else torch.zeros_like(residual)
        factor = x_heads if self.khatri_rao else torch.ones_like(x_heads)
        return torch.addcmul(residual, factor, s.to(x.dtype))

    # Projection: linear and batch norm, (B, D) -> (B, M*D), ordered head, row, position in the head

    def _linear(self, x: Tensor, x_heads: Tensor) -> Tensor:
        if isinstance(self.linear, BlockLinear):
            head_dim = self.input_dim // self.num_heads
            return self.linear(x_heads.view(-1, self.num_heads, head_dim)).flatten(1)
        return self.linear(x)

    def _projection(self, x: Tensor, x_heads: Tensor, count: int) -> Tensor:
        z = self._linear(x, x_heads)
        if self.bn is None:
            return z
        before = self._running_statistics()
        z = self.bn(z)
        self._move_again(before, count - 1)
        return z

    def _rows_fast(self, x: Tensor, x_heads: Tensor, count: int) -> tuple[Tensor, Tensor | None]:
        """The projection as (B, M, D), D head-major, and the bias (M*D,) that it still lacks."""
        if not isinstance(self.linear, nn.Linear) or x.shape[0] < 2:
            return self._rows_first(self._projection(x, x_heads, count)), None
        statistics = None
        if self.bn is not None and self.training:
            with torch.autocast(x.device.type, enabled=False):  # statistics stay in full precision
                statistics = self._statistics(x, count)
        weight, bias = self.row_weights(statistics)
        rows_BMD = F.linear(x, weight).view(x.shape[0], self.num_rows, self.input_dim)
        return rows_BMD, bias.to(rows_BMD.dtype)

    def row_weights(self, statistics: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Weight (M*D, D) and bias (M*D,) of the rows, batch norm in them; output (m, j) is row m at j.

        j counts head-major, as in `_split_heads`. Not for the layout `block` with several heads.

        Args:
            statistics: mean and variance of the projections, (M*D,); None: the running ones.
        """
        weight, bias = self.linear.weight, self.linear.bias
        if self.bn is not None:
            mean, var = statistics or (self.bn.running_mean, self.bn.running_var)
            scale = self.bn.weight * torch.rsqrt(var + self.bn.eps)
            weight = weight * scale.unsqueeze(1)
            bias = torch.addcmul(self.bn.bias, scale, bias - mean)
        if self.num_heads > 1:  # the product's outputs in that order: the weights are smaller than the rows
            shape = (self.num_heads, self.num_rows, -1)
            weight = weight.view(*shape, self.input_dim).transpose(0, 1).reshape(-1, self.input_dim)
            bias = bias.view(shape).transpose(0, 1).reshape(-1)
        return weight, bias

    def _statistics(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Mean and variance over the batch of W x + b, from those of x: W mean + b, diag(W Cov W^T)."""
        weight = self.linear.weight
        x = x.to(weight.dtype)  # under autocast the layer before may have given bfloat16
        x_mean = x.mean(dim=0)
        cov = _Gram.apply(x - x_mean) / x.shape[0]
        mean = weight @ x_mean + self.linear.bias
        var = ((weight @ cov) * weight).sum(dim=1).clamp_min(0)
        rows = x.shape[0]
        if hasattr(self.bn, "over_workers"):  # x is one worker's share of the batch
            mean, var, rows = self.bn.over_workers(mean, var, rows)
        before = self._running_statistics()
        with torch.no_grad():
            momentum = self.bn.momentum
            self.bn.running_mean.lerp_(mean.detach(), momentum)
            self.bn.running_var.lerp_(var.detach() * (rows / (rows - 1)), momentum)
            self.bn.num_batches_tracked.add_(1)
        self._move_again(before, count - 1)
        return mean, var

    def _running_statistics(self) -> tuple[Tensor, Tensor] | None:
        if not self.training:
            return None
        return self.bn.running_mean.clone(), self.bn.running_var.clone()

    @torch.no_grad()
    def _move_again(self, before: tuple[Tensor, Tensor] | None, times: int) -> None:
        """Move the running statistics `times` more, towards the batch that moved them from `before`."""
        if before is None or times == 0:
            return
        # r1 - r0 = momentum * (batch - r0), and k moves leave (1 - momentum)^k of the distance.
        moved = sum((1 - self.bn.momentum) ** k for k in range(1, times + 1))
        # New tensors: autograd still holds the ones that batch norm saved.
        self.bn.running_mean = self.bn.running_mean + moved * (self.bn.running_mean - before[0])
        self.bn.running_var = self.bn.running_var + moved * (self.bn.running_var - before[1])
        self.bn.num_batches_tracked.add_(times)

    # Heads: position (f, h, e) of a field-major row is position (h, f, e) of a head-major one

    def _split_heads(self, x: Tensor) -> Tensor:
        """Field-major (B, D) -> head-major (B, D)."""
        if self.num_heads == 1:
            return x
        return x.view(x.shape[0], self.num_fields, self.num_heads, -1).transpose(1, 2).flatten(1)

    def _join_heads(self, x_heads: Tensor) -> Tensor:
        """Head-major (B, D) -> field-major (B, D)."""
        if self.num_heads == 1:
            return x_heads
        return x_heads.view(x_heads.shape[0], self.num_heads, self.num_fields, -1).transpose(1, 2).flatten(1)

    def _rows_first(self, h: Tensor) -> Tensor:
        """(B, M*D) ordered head, row, position -> (B, M, D) with D head-major."""
        if self.num_heads == 1:
            return h.view(h.shape[0], self.num_rows, self.input_dim)
        h_BHMd = h.view(h.shape[0], self.num_heads, self.num_rows, -1)
        return h_BHMd.transpose(1, 2).reshape(h.shape[0], self.num_rows, self.input_dim)

    def extra_repr(self) -> str:
        return (
            f"num_rows={self.num_rows}, num_heads={self.num_heads}, num_fields={self.num_fields}, "
            f"head_layout={self.head_layout!r}"
        )


def _check(
    input_dim: int,
    num_rows: int,
    num_heads: int,
    num_fields: int,
    layout: str,
    activation: str,
    dropout: float,
) -> None:
    for name, value in (
        ("input_dim", input_dim),
        ("num_rows", num_rows),
        ("num_heads", num_heads),
        ("num_fields", num_fields),
    ):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if input_dim % num_fields:
        raise ValueError(
            f"the input width {input_dim} is not a multiple of num_fields={num_fields}: all fields "
            "need the same embedding_dim (or set num_fields=1)"
        )
    if (input_dim // num_fields) % num_heads:
        raise ValueError(
            f"num_heads={num_heads} does not divide the embedding dim {input_dim // num_fields}: "
            "each head takes an equal part of every field's embedding"
        )
    if layout not in HEAD_LAYOUTS:
        raise ValueError(unknown("head_layout", layout, HEAD_LAYOUTS))
    if activation not in ACTIVATIONS:
        raise ValueError(unknown("mid-activation", activation, ACTIVATIONS))
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
