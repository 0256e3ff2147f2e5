"""What can be said about two models that were trained with several seeds each.

A model's seeds are taken as independent draws from a normal distribution, each model with a variance of
its own. K seeds, m tests in one family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from fuxictr_qnn.reporting.protocol import LEAST_GAIN, LEVEL, POWER

NODES = 64  # a side, of the integral that gives a power


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1 in the denominator; None of one value) of n values."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """None where there is no value."""
        if not len(values):
            return None
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), sd, len(values))


@dataclass(frozen=True)
class Welch:
    """A difference of two means: its confidence interval, two-sided p value and degrees of freedom."""

    difference: float
    low: float
    high: float
    p: float
    degrees: float


def welch(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Welch:
    """Welch's t-test of mean(a) - mean(b), whose variances may differ (Welch 1947).

    t = difference / sqrt(va + vb), v = sd^2 / n, with Satterthwaite's degrees of freedom
    (va + vb)^2 / (va^2 / (na - 1) + vb^2 / (nb - 1)). Without any spread the difference is taken as exact.

    Raises:
        ValueError: fewer than two values on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("Welch's test needs at least two values on each side")
    difference = float(np.mean(a) - np.mean(b))
    va, vb = (float(np.var(x, ddof=1)) / len(x) for x in (a, b))
    error = math.sqrt(va + vb)
    if error == 0:
        return Welch(difference, difference, difference, float(difference == 0), math.inf)
    share = va / (va + vb)  # the squares themselves could underflow
    degrees = 1 / (share**2 / (len(a) - 1) + (1 - share) ** 2 / (len(b) - 1))
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, degrees))
    return Welch(difference, difference - half, difference + half, p, degrees)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of one family, adjusted so that the chance of any false rejection keeps the level (Holm 1979).

    In rising order the i-th of m is multiplied by m - i + 1; none is less than the one before, none over 1.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for i, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - i) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def power_of(difference: float, sd: float, seeds: int, level: float = LEVEL, tests: int = 1) -> float:
    """The chance that Welch's two-sided test of two models with K seeds each sees a true difference.

    Both have the standard deviation `sd`. With m tests the strictest step of Holm counts, (1 - level) / m.
    """
    return _power(difference / (sd * math.sqrt(2 / seeds)), seeds, (1 - level) / tests)


def _power(shift: float, seeds: int, size: float) -> float:
    """P(|t| > critical), where t is a normal variable around `shift`, over an estimate of its deviation.

    The estimate is that of 2K - 2 degrees of freedom. Independently of it the share b of one model in the sum
    of both variances varies, a beta variable, and with it Welch's degrees of freedom, (K - 1) / (b^2 +
    (1 - b)^2): fewer than 2K - 2, so that few seeds show less than the noncentral t distribution says.
    """
    estimates, criticals, weights = _estimates(seeds, size)
    beyond = stats.norm.cdf(shift - criticals * estimates) + stats.norm.cdf(-shift - criticals * estimates)
    return float((weights * beyond).sum())


@cache
def _estimates(seeds: int, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates of a deviation over it, critical values of t, and the weight of each pair in a mean.

    Gauss-Legendre on the quantiles of both.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    quantiles, weights, degrees = (nodes + 1) / 2, weights / 2, 2 * seeds - 2
    estimates = np.sqrt(stats.chi2.ppf(quantiles, degrees) / degrees)
    share = stats.beta.ppf(quantiles, (seeds - 1) / 2, (seeds - 1) / 2)
    criticals = stats.t.isf(size / 2, (seeds - 1) / (share**2 + (1 - share) ** 2))
    return estimates[:, None], criticals[None, :], np.outer(weights, weights)


def detectable_difference(
    sd: float, seeds: int, *, level: float = LEVEL, tests: int = 1, power: float = POWER
) -> float:
    """The smallest true difference that K seeds a model show with the chance `power` (see `power_of`).

    Raises:
        ValueError: fewer than two seeds.
    """
    if seeds < 2:
        raise ValueError("one seed shows no difference: it has no spread")
    size, highest = (1 - level) / tests, 4.0
    while _power(highest, seeds, size) < power:
        highest *= 2
    shift = optimize.brentq(lambda x: _power(x, seeds, size) - power, 0.0, highest, xtol=1e-8)
    return sd * math.sqrt(2 / seeds) * float(shift)


def pooled_sd(groups: Sequence[Sequence[float]]) -> float | None:
    """The common standard deviation of several groups; None where no group has two values."""
    groups = [group for group in groups if len(group) > 1]
    degrees = sum(len(group) - 1 for group in groups)
    if not degrees:
        return None
    squares = sum(float(np.var(group, ddof=1)) * (len(group) - 1) for group in groups)
    return math.sqrt(squares / degrees)


def is_better(
    difference: float, p: float, rows: tuple[float, float], level: float = LEVEL, least: float = LEAST_GAIN
) -> bool:
    """The protocol's "better": by at least `least` AUC, over seeds and over rows.

    Args:
        p: over seeds, corrected.
        rows: the bootstrap interval of the difference.
    """
    return difference >= least and p < 1 - level and rows[0] > 0
