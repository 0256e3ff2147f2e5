"""The self-ensemble loss of QNN-alpha and the consistency losses it was compared with.

Source: Li et al., KDD 2025, equation 11 and figure 6 (the alternatives are named there, not
defined; where the paper is silent the choice is stated below).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers.weighting import weighted_loss, weighted_mean

_EPSILON = 1e-7  # keeps the logarithms of the KL divergence finite in float32


def _bernoulli_kl(p: Tensor, q: Tensor, weight: Tensor | None = None) -> Tensor:
    """KL(q || p) of Bernoulli distributions, averaged over the batch."""
    p, q = p.clamp(_EPSILON, 1 - _EPSILON), q.clamp(_EPSILON, 1 - _EPSILON)
    return weighted_mean(q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log(), weight)


def _cosine(p: Tensor, q: Tensor, weight: Tensor | None = None) -> Tensor:
    """One minus the cosine between the two vectors of probabilities over the batch.

    With weights, of the scalar product sum(w p q).
    """
    if weight is not None:
        p, q = p * weight.sqrt(), q * weight.sqrt()
    return 1 - F.cosine_similarity(p.flatten(), q.flatten(), dim=0)


def _mean_of(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda p, q, weight=None: weighted_loss(loss, p, q, weight)


# name -> distance of one pass p to the detached mean q of both, a scalar; (p, q, weights of the rows or None)
CONSISTENCY_LOSSES: dict[str, Callable[..., Tensor]] = {
    "se": _mean_of(F.binary_cross_entropy),
    "mse": _mean_of(F.mse_loss),
    "kl": _bernoulli_kl,
    "cosine": _cosine,
    "huber": _mean_of(F.huber_loss),
}


class SelfEnsembleLoss(nn.Module):
    r"""Two dropout passes of one network, each trained towards the label and towards their mean.

    With :math:`\hat y = (\hat y_1 + \hat y_2)/2` and :math:`\tilde y` = stop-gradient of it,

    .. math:: L = \mathrm{BCE}(\hat y, y) + w \, (d(\hat y_1, \tilde y) + d(\hat y_2, \tilde y))

    where for `se` (equation 11) :math:`d` is the binary cross-entropy. The other distances are
    between probabilities: `mse`, `kl` (of Bernoulli variables, target first), `cosine` (over the
    batch) and `huber` (threshold 1). Weights of rows count in every mean over the batch.

    Args:
        consistency: 'se', 'mse', 'kl', 'cosine' or 'huber'.
        weight: w; the paper uses 1.

    Shapes: p1, p2 and y (B, 1), probabilities and labels; row_weight (B, 1) or None -> scalar.

    Raises:
        ValueError: unknown consistency loss, negative weight, shapes that differ.
    """

    def __init__(self, consistency: str = "se", weight: float = 1.0):
        super().__init__()
        if consistency not in CONSISTENCY_LOSSES:
            raise ValueError(unknown("consistency loss", consistency, CONSISTENCY_LOSSES))
        if weight < 0:
            raise ValueError(f"the weight of the consistency loss must not be negative, got {weight}")
        self.consistency, self.weight = consistency, weight

    def forward(self, p1: Tensor, p2: Tensor, y: Tensor, row_weight: Tensor | None = None) -> Tensor:
        if not p1.shape == p2.shape == y.shape:
            raise ValueError(
                "the two passes and the labels must have one shape, got "
                f"{tuple(p1.shape)}, {tuple(p2.shape)} and {tuple(y.shape)}"
            )
        mean = (p1 + p2) / 2
        target = mean.detach()
        distance = CONSISTENCY_LOSSES[self.consistency]
        consistency = distance(p1, target, row_weight) + distance(p2, target, row_weight)
        return weighted_loss(F.binary_cross_entropy, mean, y, row_weight) + self.weight * consistency

    def extra_repr(self) -> str:
        return f"consistency={self.consistency!r}, weight={self.weight}"
