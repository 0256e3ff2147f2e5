"""Dropout with masks that cost little on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.layers._pooled_rows import pooled_rows


class Dropout(nn.Dropout):
    """torch's dropout with the masks of `keep_mask`: in training y = x * mask / P(mask), else y = x.

    Shapes: any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or not x.numel():
            return x
        # A pool over one row each. One sweep, and one byte an element for the backward pass.
        return pooled_rows(x.reshape(x.shape[0], 1, -1), False, self.p)[0].view(x.shape)
