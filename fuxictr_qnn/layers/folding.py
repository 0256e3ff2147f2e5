"""Modules at evaluation in fewer operations: dropouts left out, batch norms and rows in the weights.

B batch, D width, M rows. What is made here is a snapshot of the weights, for scoring and export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from fuxictr_qnn.layers.khatri_rao import KhatriRaoLayer
from fuxictr_qnn.layers.qnn_alpha import QuadraticNetwork
from fuxictr_qnn.layers.quadratic_qin import QuadraticLayerQIN, QuadraticNetworkQIN
from fuxictr_qnn.layers.scoring import folded
from fuxictr_qnn.layers.target_attention import AdaptiveSparseTargetAttention, MeanPooling

_DROPOUTS = (nn.modules.dropout._DropoutNd,)


class Affine(nn.Module):
    """scale * x + shift, what a batch norm is at evaluation. (B, D) -> (B, D)."""

    def __init__(self, norm: nn.BatchNorm1d):
        super().__init__()
        scale, shift = affine_of(norm)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, self.scale, x)


class Network(nn.Sequential):
    """Layers one after another, with the `passes` of the networks that it takes the place of."""

    def passes(self, x: Tensor, count: int) -> list[Tensor]:
        return [self(x)] * count


class _LayerQIN(nn.Module):
    r""":math:`x + \sigma(x \odot (Wx + b) + c)`: the rows in W and b, and so is the batch norm's scale."""

    def __init__(self, layer: QuadraticLayerQIN, norm: nn.Module, activation: nn.Module):
        super().__init__()
        weight, bias = (
            t.detach().unflatten(0, (layer.num_rows, -1)).sum(0) for t in layer.linear.parameters()
        )
        if isinstance(norm, nn.BatchNorm1d):
            scale, shift = affine_of(norm)
            weight, bias = weight * scale.unsqueeze(1), bias * scale
        else:
            shift = torch.zeros_like(bias)
        for name, tensor in (("weight", weight), ("bias", bias), ("shift", shift)):
            self.register_buffer(name, tensor)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.activation(torch.addcmul(self.shift, x, F.linear(x, self.weight, self.bias)))


class _Looked(nn.Module):
    """An attention over rows of a table that looks them up, which asks for no sparse products."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def from_table(self, target_BD: Tensor, table_UD: Tensor, index_BS: Tensor, mask_BS: Tensor) -> Tensor:
        return self.attention(target_BD, F.embedding(index_BS, table_UD), mask_BS)


def affine_of(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift (D,) of a batch norm with its running statistics."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = norm.weight.detach() * scale
    bias = 0.0 if norm.bias is None else norm.bias.detach()
    return scale, bias - norm.running_mean * scale


Replacements = Mapping[type[nn.Module] | tuple, Callable[[nn.Module], nn.Module | None]]


def simplify(module: nn.Module, more: Replacements = MappingProxyType({})) -> nn.Module:
    """The module with all of its parts folded: what is replaced is new, the rest is changed in place.

    Args:
        more: kind of module -> what takes its place, before what this file knows; None: no such thing here.
    """
    for kind, replacement in (*more.items(), *_REPLACEMENTS.items()):
        if isinstance(module, kind) and (found := replacement(module)) is not None:
            return found
    for name, child in module.named_children():
        if (simple := simplify(child, more)) is not child:
            setattr(module, name, simple)
    return module


def _network(network: QuadraticNetwork) -> nn.Module:
    return Network(*(folded(layer) for layer in network.layers))


def _network_qin(network: QuadraticNetworkQIN) -> nn.Module | None:
    """None for networks whose rows have an activation: those do not fold."""
    if any(layer.mid_activation != "none" for layer in network.layers):
        return None
    parts = zip(network.layers, network.norms, network.activations, strict=True)
    return Network(*(_LayerQIN(*part) for part in parts))


def _sequence(sequence: nn.Sequential) -> nn.Sequential:
    """Without dropouts; a batch norm right behind a linear layer goes into its weights."""
    kept: list[nn.Module] = []
    for module in sequence:
        if isinstance(module, (*_DROPOUTS, nn.Identity)):
            continue
        if isinstance(module, nn.BatchNorm1d) and kept and type(kept[-1]) is nn.Linear:
            kept[-1] = fuse_linear_bn_eval(kept[-1], module)
        else:
            kept.append(simplify(module))
    return nn.Sequential(*kept)


_REPLACEMENTS: Replacements = {  # the first kind that a module is of, and whose function gives one
    QuadraticNetwork: _network,
    QuadraticNetworkQIN: _network_qin,
    KhatriRaoLayer: folded,
    (AdaptiveSparseTargetAttention, MeanPooling): _Looked,
    nn.Sequential: _sequence,
    nn.BatchNorm1d: Affine,
}
