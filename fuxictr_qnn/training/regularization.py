"""L1 and L2 of FuxiCTR's models, as a gradient instead of a term of the loss."""

from __future__ import annotations

import torch
from fuxictr.pytorch.layers import FeatureEmbeddingDict
from fuxictr.pytorch.torch_utils import get_regularizer
from torch import Tensor, nn


class Regularizer:
    r"""Adds the gradient of :math:`\sum (\lambda/p) \lVert W \rVert_p^p`, p = 1 or 2, after backward.

    The same gradient as FuxiCTR's `regularization_loss` (whole embedding tables at every step, on
    which published numbers depend) without a backward pass through the norms: lambda * W for L2,
    lambda * sign(W) for L1. Parameters inside a FeatureEmbeddingDict take the model's
    embedding_regularizer, all others its net_regularizer.
    """

    def __init__(self, model: nn.Module):
        embedding_ids = {
            id(parameter)
            for module in model.modules()
            if type(module) is FeatureEmbeddingDict
            for parameter in module.parameters()
        }
        rules = {
            True: get_regularizer(_number(model._embedding_regularizer)),
            False: get_regularizer(_number(model._net_regularizer)),
        }
        self._terms: list[tuple[int, float, list[Tensor]]] = []  # p, lambda, parameters
        trainable = [p for p in model.parameters() if p.requires_grad]
        for of_embeddings, pairs in rules.items():
            group = [p for p in trainable if (id(p) in embedding_ids) == of_embeddings]
            self._terms += [(p, weight, group) for p, weight in pairs if weight and group]

    @torch.no_grad()
    def add_gradients(self) -> Tensor | float:
        """Add the gradients to `.grad` and return the value of the term, for the log."""
        value: Tensor | float = 0.0
        for p, weight, parameters in self._terms:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            norms = torch.stack(torch._foreach_norm(parameters, p))
            value = value + (weight / p) * (norms**p).sum()
            directions = parameters if p == 2 else torch._foreach_sign(parameters)
            torch._foreach_add_([q.grad for q in parameters], directions, alpha=weight)
        return value


def _number(regularizer: float | str | None) -> float | str | None:
    """FuxiCTR takes an int for no regularizer at all."""
    return float(regularizer) if isinstance(regularizer, int) else regularizer
