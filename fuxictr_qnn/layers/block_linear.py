"""A block-diagonal linear map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BlockLinear(nn.Module):
    """H independent linear maps, each on its own slice of the input: y_h = W_h x_h + b_h.

    Args:
        num_blocks: H.
        in_features: width of one slice.
        out_features: outputs of one slice.

    Shapes: (B, H, in_features) -> (B, H, out_features). Weight (H, out, in), bias (H, out).
    """

    def __init__(self, num_blocks: int, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_blocks, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(num_blocks, out_features))
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier normal for each block and zero biases, as FuxiCTR initialises its nn.Linear."""
        for weight in self.weight:
            nn.init.xavier_normal_(weight)
        nn.init.zeros_(self.bias)

    def forward(self, x_BHI: Tensor) -> Tensor:
        y_HBO = torch.baddbmm(self.bias.unsqueeze(1), x_BHI.transpose(0, 1), self.weight.transpose(1, 2))
        return y_HBO.transpose(0, 1)
