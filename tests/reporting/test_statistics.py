"""Tests over seeds, against formulas written out and values that are printed elsewhere."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from fuxictr_qnn.reporting.statistics import (
    Spread,
    detectable_difference,
    holm,
    is_better,
    pooled_sd,
    power_of,
    welch,
)

# The worked example of many textbooks and of Wikipedia: t = -2.46, 25.0 degrees of freedom, p = 0.021.
FIRST = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
SECOND = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]

aucs = st.lists(st.floats(0.5, 1.0), min_size=2, max_size=6)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_spread():
    assert Spread.of([]) is None
    assert Spread.of([0.5]) == Spread(0.5, None, 1)
    spread = Spread.of([1.0, 2.0, 4.0])
    assert (spread.mean, spread.n) == (pytest.approx(7 / 3), 3)
    assert spread.sd == pytest.approx(statistics.stdev([1, 2, 4]))


class TestWelch:
    def test_a_known_example(self):
        found = welch(FIRST, SECOND)
        t = found.difference / ((found.high - found.difference) / stats.t.ppf(0.975, found.degrees))
        assert round(t, 2) == -2.46 and round(found.degrees, 1) == 25.0 and round(found.p, 3) == 0.021

    @given(aucs, aucs)
    def test_the_formula(self, a, b):
        va, vb = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
        assume(va + vb > 1e-12)
        found = welch(a, b)
        degrees = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        t = (statistics.mean(a) - statistics.mean(b)) / math.sqrt(va + vb)
        assert found.degrees == pytest.approx(degrees, rel=1e-6)
        assert found.p == pytest.approx(2 * (1 - stats.t.cdf(abs(t), degrees)), abs=1e-9)

    @given(aucs, aucs)
    def test_the_interval_holds_0_where_the_test_does_not_reject(self, a, b):
        found, turned = welch(a, b), welch(b, a)
        assume(abs(found.p - 0.05) > 1e-6 and found.degrees < math.inf)
        assert (found.low <= 0 <= found.high) == (found.p > 0.05)
        assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))

    def test_no_spread(self):
        assert (welch([0.8, 0.8], [0.8, 0.8]).p, welch([0.9, 0.9], [0.8, 0.8]).p) == (1, 0)

    def test_one_value_is_too_few(self):
        with pytest.raises(ValueError, match="at least two values"):
            welch([0.8], [0.7, 0.9])


class TestHolm:
    def test_a_known_example(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_one_test_needs_no_correction(self):
        assert holm([0.03]) == [0.03]

    @given(p_values)
    def test_what_any_correction_does(self, values):
        adjusted = holm(values)
        for p, q in zip(values, adjusted, strict=True):
            assert p <= q <= min(1, len(values) * p + 1e-12)
        assert [adjusted[i] for i in np.argsort(values, kind="stable")] == sorted(adjusted)

    @given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
    def test_it_rejects_what_the_step_down_procedure_rejects(self, values, level):
        rejected = set()
        for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[index] * (len(values) - step) >= level:
                break
            rejected.add(index)
        assert {i for i, q in enumerate(holm(values)) if q < level} == rejected


class TestDetectableDifference:
    @pytest.mark.parametrize(
        "difference, seeds, power", [(0.5, 64, 0.8015), (1.0, 17, 0.8070), (0.8, 26, 0.8075)]
    )
    def test_powers_that_are_tabled(self, difference, seeds, power):
        """Of Student's test, in Cohen (1988) and G*Power: with many seeds Welch's is close, and below."""
        assert power - 2e-3 < power_of(difference, 1.0, seeds) < power + 1e-4

    @pytest.mark.parametrize("seeds", [2, 3, 5, 20])
    @pytest.mark.parametrize("tests", [1, 8])
    def test_power_is_how_often_welchs_test_rejects(self, seeds, tests):
        rng = np.random.default_rng(seeds)
        a, b = rng.normal(size=(2, 60_000, seeds))
        for difference in (0.0, 1.5, 4.0):
            found = stats.ttest_ind(a + difference, b, axis=1, equal_var=False).pvalue < 0.05 / tests
            assert power_of(difference, 1.0, seeds, tests=tests) == pytest.approx(found.mean(), abs=0.008)

    @pytest.mark.parametrize("seeds, tests", [(3, 1), (3, 7), (5, 7)])
    def test_it_is_found_with_the_power_promised(self, seeds, tests):
        difference = detectable_difference(0.002, seeds, tests=tests)
        rng = np.random.default_rng(0)
        a = rng.normal(difference, 0.002, size=(40_000, seeds))
        b = rng.normal(0.0, 0.002, size=(40_000, seeds))
        found = stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05 / tests
        assert found.mean() == pytest.approx(0.8, abs=0.01)

    @settings(max_examples=30, deadline=None)
    @given(st.floats(1e-5, 0.1), st.integers(2, 12), st.integers(1, 20))
    def test_what_makes_it_smaller(self, sd, seeds, tests):
        here = detectable_difference(sd, seeds, tests=tests)
        assert detectable_difference(sd, seeds + 1, tests=tests) < here
        assert here < detectable_difference(sd, seeds, tests=tests + 1)
        assert detectable_difference(2 * sd, seeds, tests=tests) == pytest.approx(2 * here, rel=1e-6)

    def test_without_spread_every_difference_shows_and_with_one_seed_none(self):
        assert detectable_difference(0.0, 3) == 0
        with pytest.raises(ValueError, match="one seed"):
            detectable_difference(0.01, 1)


def test_pooled_sd():
    a, b = [1.0, 2.0, 3.0], [10.0, 14.0]
    squares = 2 * statistics.variance(a) + 1 * statistics.variance(b)
    assert pooled_sd([a, b, [7.0]]) == pytest.approx(math.sqrt(squares / 3))
    assert pooled_sd([[7.0]]) is None


@pytest.mark.parametrize(
    "difference, p, rows, better",
    [
        (0.0010, 0.01, (0.0002, 0.0018), True),
        (0.0010, 0.06, (0.0002, 0.0018), False),  # not over the seeds
        (0.0010, 0.01, (-0.0001, 0.0021), False),  # not over the rows
        (0.0004, 0.01, (0.0002, 0.0006), False),  # too little
        (-0.001, 0.01, (-0.0018, -0.0002), False),
    ],
)
def test_better_takes_both_tests_and_enough_of_a_difference(difference, p, rows, better):
    assert is_better(difference, p, rows) is better
