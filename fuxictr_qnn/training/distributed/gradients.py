"""The sum of the workers' gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

_LARGE = 1 << 20  # elements: from here on a gradient is summed in place, below in one message with others


@torch.no_grad()
def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace each gradient by its sum over the workers; returns the sum of the losses.

    A parameter that has no gradient on any worker keeps none, as optimizers leave such a one alone.
    """
    absent = [number for number, parameter in enumerate(parameters) if parameter.grad is None]
    for number in absent:
        parameters[number].grad = torch.zeros_like(parameters[number])
    given = loss.new_ones(len(parameters))
    if absent:
        given[absent] = 0
    gradients = [parameter.grad for parameter in parameters]
    large = [gradient for gradient in gradients if gradient.numel() >= _LARGE and gradient.is_contiguous()]
    in_place = {id(gradient) for gradient in large}
    small = [gradient for gradient in gradients if id(gradient) not in in_place]
    under_way = [dist.all_reduce(gradient, async_op=True) for gradient in large]
    message = torch.cat([loss.reshape(1), given, *(gradient.flatten() for gradient in small)])
    dist.all_reduce(message)
    total, given, *summed = message.split([1, len(parameters), *(gradient.numel() for gradient in small)])
    for gradient, values in zip(small, summed, strict=True):
        gradient.copy_(values.view_as(gradient))
    for work in under_way:
        work.wait()
    for number in absent:
        if given[number] == 0:
            parameters[number].grad = None
    return total[0]
