"""Weighted means of losses: each row of a batch counts as much as its weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny  # a batch whose weights are all 0 has the loss 0


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    r""":math:`\sum_i w_i v_i / \sum_i w_i` over a batch; the plain mean without weights.

    Shapes: values and weight (B, 1) -> scalar.
    """
    if weight is None:
        return values.mean()
    return (values * weight).mean() / weight.mean().clamp(min=TINY)


def weighted_loss(
    loss: Callable[..., Tensor], prediction: Tensor, target: Tensor, weight: Tensor | None
) -> Tensor:
    """The weighted mean of a loss of torch.nn.functional.

    With all weights 1 it is the plain mean bit by bit, its gradient, too (of huber_loss to the last digit):
    the losses with a form for it are computed by the one kernel that also computes their mean.

    Shapes: prediction, target and weight (B, 1) -> scalar.
    """
    if weight is None:
        return loss(prediction, target, reduction="mean")
    whole = weight.mean().clamp(min=TINY)
    if loss is F.binary_cross_entropy:
        return loss(prediction, target, weight=weight) / whole
    if loss in (F.mse_loss, F.l1_loss):  # w |p - y| = |w p - w y|, and the same with squares and roots
        factor = weight.sqrt() if loss is F.mse_loss else weight
        return loss(factor * prediction, factor * target) / whole
    return weighted_mean(loss(prediction, target, reduction="none"), weight)
