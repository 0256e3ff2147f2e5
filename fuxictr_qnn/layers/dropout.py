"""Dropout with masks that cost little on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from fuxictr_qnn.layers._pooled_rows import dropped


class Dropout(nn.Dropout):
    """torch's dropout with the masks of `keep_mask`: in training y = x * mask / P(mask), else y = x.

    Shapes: any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        return dropped(x, self.p) if self.training else x


def draw_masks_cheaply(model: nn.Module) -> None:
    """Put a `Dropout` of the same probability in the place of every nn.Dropout of a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout and child.p < 1:
                setattr(module, name, Dropout(child.p).train(child.training))
