"""FuxiCTR's multi-layer perceptron, refusing activations that it would stumble over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fuxictr.pytorch.layers import MLP_Block
from fuxictr.pytorch.torch_utils import get_activation
from torch import nn


def perceptron(
    input_dim: int,
    hidden_units: Sequence[int],
    activations: Any,
    dropout: float,
    batch_norm: bool,
    output_dim: int | None = None,
    key: str = "hidden_activations",
) -> MLP_Block:
    """Linear, batch norm, activation and dropout for each width; then a linear layer to `output_dim`.

    Args:
        activations: a name for all layers, or a list with one (or null) for each.
        output_dim: none ends with the last hidden layer.
        key: the config's for `activations`, for the message.

    Shapes: (B, input_dim) -> (B, output_dim), or (B, hidden_units[-1]).

    Raises:
        ValueError: unknown activations, or not as many as layers; a width below 1.
    """
    check_activations(key, activations, hidden_units)
    return MLP_Block(
        input_dim,
        list(hidden_units),
        activations,
        output_dim=output_dim,
        dropout_rates=dropout,
        batch_norm=batch_norm,
    )


def perceptron_beside(
    input_dim: int,
    dnn_hidden_units: Sequence[int],
    dnn_activations: Any,
    dropout: float,
    batch_norm: bool,
    output_dim: int | None = None,
) -> MLP_Block | None:
    """The perceptron of a model that can do without one; None where there are no hidden layers.

    Shapes and errors as of `perceptron`.
    """
    if not dnn_hidden_units:
        return None
    options = (dnn_hidden_units, dnn_activations, dropout, batch_norm, output_dim)
    return perceptron(input_dim, *options, key="dnn_activations")


def check_activations(key: str, activations: Any, hidden_units: Sequence[int]) -> None:
    """Whether FuxiCTR can make these layers.

    Raises:
        ValueError: unknown activations, or not as many as layers; a width below 1.
    """
    if any(units < 1 for units in hidden_units):
        raise ValueError(f"the width of a hidden layer must be at least 1, got {list(hidden_units)}")
    if isinstance(activations, list) and len(activations) != len(hidden_units):
        raise ValueError(f"{key} lists {len(activations)} activations for {len(hidden_units)} layers")
    for name in activations if isinstance(activations, list) else [activations]:
        if name is not None:
            activation(key, name, 1)


def activation(key: str, name: str, width: int) -> nn.Module:
    """The activation of that name: FuxiCTR's relu, sigmoid, tanh, prelu, dice, or a class of torch.nn.

    Raises:
        ValueError: there is none, or its class makes no (B, width) of (B, width).
    """
    x = torch.zeros(2, width)
    try:
        module = get_activation(name, hidden_units=width)
        keeps_shape = module.eval()(x).shape == x.shape  # in evaluation, which draws no random numbers
    except Exception:  # torch.nn has losses and containers, too: each fails in a way of its own
        keeps_shape = False
    if not keeps_shape:
        raise ValueError(f"{key}: {name!r} is no activation: ReLU, PReLU, Dice, Sigmoid ... or null for none")
    return module.train()
