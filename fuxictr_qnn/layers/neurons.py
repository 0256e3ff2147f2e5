"""The quadratic neuron formats that the QNN-alpha paper compares.

Source: Li et al., "Revisiting Feature Interactions from the Perspective of Quadratic Neural
Networks for Click-through Rate Prediction", KDD 2025, table 1 (T1-T25); T26-T30 are in the
released code only. X is the input of a layer, every W x stands for W x + bias, * is the
elementwise product, | the concatenation, mean over r that over two projections.

B batch, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from fuxictr_qnn.errors import nearest
from fuxictr_qnn.layers.quadratic_form import QuadraticForm


class Scale(nn.Module):
    """alpha * x with one learned alpha a coordinate, 1 at the start. (B, D) -> (B, D)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


# What a format projects with: name -> the module for width D.
PROJECTIONS: dict[str, Callable[[int], nn.Module]] = {
    "D->D": lambda d: nn.Linear(d, d),
    "D->D/2": lambda d: nn.Linear(d, d // 2),
    "D/2->D": lambda d: nn.Linear(d // 2, d),
    "D->3D/2": lambda d: nn.Linear(d, 3 * d // 2),
    "2D->D": lambda d: nn.Linear(2 * d, d),
    "DxD->D": lambda d: QuadraticForm(d, d),
    "alpha": Scale,
}


class NeuronFormat(NamedTuple):
    """A row of the paper's table 1."""

    formula: str
    projections: tuple[str, ...]  # of PROJECTIONS, in the order in which the formula names them
    function: Callable[..., Tensor]  # (x, *projections) -> (B, D)
    needs_halves: bool = False  # whether D must be even

    @property
    def is_bilinear(self) -> bool:
        """Whether it has D^3 weights."""
        return "DxD->D" in self.projections


def _beside(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=-1)


def _split(h: Tensor, parts: int = 2) -> tuple[Tensor, ...]:
    return h.chunk(parts, dim=-1)


def _t11(x: Tensor, a: nn.Module) -> Tensor:
    h1, h2 = _split(a(x))
    return _beside(h1, h2.square())


def _t12(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    h1, h2 = _split(a(x))
    return _beside(h1 * h2, b(x.square()))


def _t13(x: Tensor, a: nn.Module) -> Tensor:
    h1, h2, h3 = _split(a(x), 3)
    return _beside(h1 * h2, h3)


def _t14(x: Tensor, a: nn.Module) -> Tensor:
    h1, h2 = _split(a(x))
    return _beside(h1 * h2, h2)


def _t15(x: Tensor, a: nn.Module) -> Tensor:
    h = a(x)
    return _beside(h.square(), h)


def _t20(x: Tensor, a: nn.Module) -> Tensor:
    h = a(x)
    return x * h + h + x


D2, BILINEAR = ("D->D",), ("DxD->D",)

# Where one projection serves two places of a formula (W_ab), its halves are W_a and W_b.
NEURON_FORMATS: dict[str, NeuronFormat] = {
    "T1": NeuronFormat("X^T Wa X + Wb X", BILINEAR + D2, lambda x, a, b: a(x) + b(x)),
    "T2": NeuronFormat("X^T Wa X", BILINEAR, lambda x, a: a(x)),
    "T3": NeuronFormat("Wa X^2", D2, lambda x, a: a(x.square())),
    "T4": NeuronFormat("(Wa X)^2", D2, lambda x, a: a(x).square()),
    "T5": NeuronFormat("Wa X * Wb X", D2 * 2, lambda x, a, b: a(x) * b(x)),
    "T6": NeuronFormat("X^T Wa X + Wb X^2", BILINEAR + D2, lambda x, a, b: a(x) + b(x.square())),
    "T7": NeuronFormat("Wa X * Wb X + Wc X^2", D2 * 3, lambda x, a, b, c: a(x) * b(x) + c(x.square())),
    "T8": NeuronFormat("Wa X * Wb X + Wc X", D2 * 3, lambda x, a, b, c: a(x) * b(x) + c(x)),
    "T9": NeuronFormat("X * Wa X + X", D2, lambda x, a: x * a(x) + x),
    "T10": NeuronFormat("X * Wa X + Wb X", D2 * 2, lambda x, a, b: x * a(x) + b(x)),
    "T11": NeuronFormat("Wa X | (Wb X)^2", D2, _t11, True),
    "T12": NeuronFormat("Wa X * Wb X | Wc X^2", ("D->D", "D->D/2"), _t12, True),
    "T13": NeuronFormat("Wa X * Wb X | Wc X", ("D->3D/2",), _t13, True),
    "T14": NeuronFormat("Wa X * Wb X | Wb X", D2, _t14, True),
    "T15": NeuronFormat("(Wa X)^2 | Wa X", ("D->D/2",), _t15, True),
    "T16": NeuronFormat("X * (Wa X * Wb X) + X", D2 * 2, lambda x, a, b: x * (a(x) * b(x)) + x),
    "T17": NeuronFormat("X * (Wa X + Wb X) + X", D2 * 2, lambda x, a, b: x * (a(x) + b(x)) + x),
    "T17_code": NeuronFormat("X * Wa X + Wb X + X", D2 * 2, lambda x, a, b: x * a(x) + b(x) + x),
    "T18": NeuronFormat("Wb (X * Wa X | X)", ("D->D", "2D->D"), lambda x, a, b: b(_beside(x * a(x), x))),
    "T19": NeuronFormat("X * ReLU(Wa X) + X", D2, lambda x, a: x * relu(a(x)) + x),
    "T20": NeuronFormat("X * Wa X + Wa X + X", D2, _t20),
    "T21": NeuronFormat("(X * Wa X)^2 + X", D2, lambda x, a: (x * a(x)).square() + x),
    "T22": NeuronFormat("X * Wa X + alpha * X", ("D->D", "alpha"), lambda x, a, b: x * a(x) + b(x)),
    "T23": NeuronFormat("Wa X * Wb X + X", D2 * 2, lambda x, a, b: a(x) * b(x) + x),
    "T24": NeuronFormat("Wa X * ReLU(Wb X) + X", D2 * 2, lambda x, a, b: a(x) * relu(b(x)) + x),
    "T25": NeuronFormat(
        "X * Wa ReLU(Wb X) + X", ("D/2->D", "D->D/2"), lambda x, a, b: x * a(relu(b(x))) + x, True
    ),
    "T26": NeuronFormat(
        "mean_r X * ReLU(Wr X) + X", D2 * 2, lambda x, a, b: x * (relu(a(x)) + relu(b(x))) / 2 + x
    ),
    "T27": NeuronFormat(
        "mean_r X^2 * ReLU(Wr X) + X",
        D2 * 2,
        lambda x, a, b: x.square() * (relu(a(x)) + relu(b(x))) / 2 + x,
    ),
    "T28": NeuronFormat(
        "mean_r X * ReLU(Wr X)^2 + X",
        D2 * 2,
        lambda x, a, b: x * (relu(a(x)).square() + relu(b(x)).square()) / 2 + x,
    ),
    "T29": NeuronFormat(
        "mean(X * ReLU(Wa X), X * ReLU(Wb X)^2) + X",
        D2 * 2,
        lambda x, a, b: x * (relu(a(x)) + relu(b(x)).square()) / 2 + x,
    ),
    "T30": NeuronFormat(
        "mean(X * ReLU(Wa X), X^2 * ReLU(Wb X)) + X",
        D2 * 2,
        lambda x, a, b: (x * relu(a(x)) + x.square() * relu(b(x))) / 2 + x,
    ),
}


def neuron_format(neuron_type: str) -> NeuronFormat:
    """The format of that name.

    Raises:
        ValueError: there is none; names the nearest.
    """
    if neuron_type not in NEURON_FORMATS:
        near = nearest(str(neuron_type), NEURON_FORMATS)
        raise ValueError(f"unknown neuron_type {neuron_type!r}.{near} Known: {', '.join(NEURON_FORMATS)}")
    return NEURON_FORMATS[neuron_type]


class QuadraticNeuron(nn.Module):
    """One layer of quadratic neurons in a format of the paper's table 1; see NEURON_FORMATS.

    Args:
        neuron_type: "T1" ... "T30", or "T17_code" (T17 as the authors' code runs it, which is not
            what the paper prints: the printed T17 is T9 with its matrix written as a sum).
        input_dim: D; even where a format concatenates halves or has a bottleneck of D/2.

    Shapes: (B, D) -> (B, D). Parameters `projections[0]`, ... in the order of the formula (a, b, c).

    Raises:
        ValueError: an unknown format, an odd D where halves are needed.
    """

    def __init__(self, neuron_type: str, input_dim: int):
        super().__init__()
        form = neuron_format(neuron_type)
        if form.needs_halves and input_dim % 2:
            raise ValueError(
                f"neuron_type {neuron_type} ({form.formula}) works on halves of its input, whose width "
                f"{input_dim} is odd: choose an even embedding_dim, or another format"
            )
        self.neuron_type, self.input_dim = neuron_type, input_dim
        self.projections = nn.ModuleList(PROJECTIONS[name](input_dim) for name in form.projections)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return NEURON_FORMATS[self.neuron_type].function(x, *self.projections)

    def extra_repr(self) -> str:
        return f"{self.neuron_type}: {NEURON_FORMATS[self.neuron_type].formula}"
