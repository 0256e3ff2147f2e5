"""The quadratic form x^T W x for many outputs at once, as matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Rows of the outer product multiplied at a time: their temporaries stay small.
_BLOCK = 16


class QuadraticForm(nn.Module):
    r"""y_o = x^T W_o x + b_o for o = 1..out_features, what torch.nn.Bilinear(x, x) computes.

    Only the symmetric part of W_o counts, so the products x_i x_j with i <= j (whole blocks of them)
    are formed once and multiplied with W_ij + W_ji: about half the arithmetic of one matrix product
    over the whole outer product, and none of nn.Bilinear's loop over the outputs.

    Args:
        in_features: I.
        out_features: O.

    Shapes: (B, I) -> (B, O). Weight (O, I, I) and bias (O), laid out and initialised as nn.Bilinear's.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.init_weights()

    def init_weights(self) -> None:
        """Uniform within 1/sqrt(in_features), torch's default for nn.Bilinear."""
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O)."""
        both_OII = self.weight + self.weight.transpose(1, 2)
        y = self.bias
        for start in range(0, self.in_features, _BLOCK):
            stop = min(start + _BLOCK, self.in_features)
            own, later = self.weight[:, start:stop, start:stop], both_OII[:, start:stop, stop:]
            products = x[:, start:stop].unsqueeze(2) * x[:, start:].unsqueeze(1)
            weight = torch.cat([own, later], dim=2).flatten(1)
            y = y + products.flatten(1) @ weight.t()  # not addmm: under autocast the sum stays float32
        return y

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"
