"""The self-ensemble loss and its alternatives against their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fuxictr_qnn.layers import CONSISTENCY_LOSSES, SelfEnsembleLoss

rng = np.random.default_rng(4)
P1, P2 = rng.uniform(0.02, 0.98, (2, 50, 1))
Y = (rng.uniform(size=(50, 1)) < 0.3).astype(float)


def cross_entropy(p, q):
    return -np.mean(q * np.log(p) + (1 - q) * np.log(1 - p))


def huber(p, q):
    gap = np.abs(p - q)
    return np.mean(np.where(gap <= 1, gap**2 / 2, gap - 0.5))


DISTANCES = {
    "se": cross_entropy,
    "mse": lambda p, q: np.mean((p - q) ** 2),
    "kl": lambda p, q: np.mean(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))),
    "cosine": lambda p, q: 1 - (p * q).sum() / np.sqrt((p**2).sum() * (q**2).sum()),
    "huber": huber,
}


def tensors():
    p1, p2 = (torch.tensor(p, requires_grad=True) for p in (P1, P2))
    return p1, p2, torch.tensor(Y)


@pytest.mark.parametrize("name", sorted(CONSISTENCY_LOSSES))
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_equals_the_formula(name, weight):
    mean = (P1 + P2) / 2
    expected = cross_entropy(mean, Y) + weight * (DISTANCES[name](P1, mean) + DISTANCES[name](P2, mean))
    assert SelfEnsembleLoss(name, weight)(*tensors()).item() == pytest.approx(expected, rel=1e-9)


def test_equals_equation_11_as_printed():
    """L_SE = -mean[t log(p1 p2) + (1 - t) log((1 - p1)(1 - p2))] with t the mean of the passes."""
    t = (P1 + P2) / 2
    printed = -np.mean(t * np.log(P1 * P2) + (1 - t) * np.log((1 - P1) * (1 - P2)))
    assert SelfEnsembleLoss()(*tensors()).item() == pytest.approx(cross_entropy(t, Y) + printed, rel=1e-12)


def test_no_gradient_flows_through_the_target():
    p1, p2, y = tensors()
    SelfEnsembleLoss()(p1, p2, y).backward()
    t, n = (P1 + P2) / 2, len(Y)

    def slope(p, q):  # of cross-entropy against a constant target
        return (p - q) / (p * (1 - p)) / n

    np.testing.assert_allclose(p1.grad.numpy(), slope(t, Y) / 2 + slope(P1, t), rtol=1e-9)
    np.testing.assert_allclose(p2.grad.numpy(), slope(t, Y) / 2 + slope(P2, t), rtol=1e-9)


def test_certain_and_equal_passes_stay_finite():
    for name in CONSISTENCY_LOSSES:
        p = torch.tensor([[0.0], [1.0], [0.5]], requires_grad=True)
        loss = SelfEnsembleLoss(name)(p, p.clone(), torch.tensor([[0.0], [1.0], [1.0]]))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(p.grad).all(), name


def test_wrong_arguments_are_refused_in_plain_words():
    with pytest.raises(ValueError, match="unknown consistency loss 'l2'; known: se, mse"):
        SelfEnsembleLoss("l2")
    with pytest.raises(ValueError, match="must not be negative"):
        SelfEnsembleLoss(weight=-1)
    with pytest.raises(ValueError, match=r"one shape, got \(50, 1\), \(50, 1\) and \(50,\)"):
        p1, p2, y = tensors()
        SelfEnsembleLoss()(p1, p2, y.view(-1))
