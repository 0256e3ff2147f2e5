"""Calibration, against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuxictr_qnn.training.calibration import (
    corrected,
    expected_calibration_error,
    figures,
    predicted_over_observed,
    reliability,
)


def test_two_bins_by_hand():
    labels, predictions = np.array([1, 0, 1, 1]), np.array([0.9, 0.2, 0.6, 0.1])
    found = reliability(labels, predictions, bins=2)
    np.testing.assert_allclose(found.predicted, [0.15, 0.75])
    np.testing.assert_allclose(found.observed, [0.5, 1.0])
    assert expected_calibration_error(labels, predictions, bins=2) == pytest.approx((0.35 + 0.25) / 2)
    assert predicted_over_observed(labels, predictions) == pytest.approx(1.8 / 3)


def test_rows_with_one_prediction_share_a_bin():
    """A constant prediction at the click rate is calibrated, however its rows are sorted."""
    labels = np.array([0, 0, 0, 1] * 25)
    assert len(reliability(labels, np.full(100, 0.25)).rows) == 1
    assert expected_calibration_error(labels, np.full(100, 0.25)) == pytest.approx(0)
    assert expected_calibration_error(labels, np.full(100, 0.75)) == pytest.approx(0.5)


def test_true_probabilities_are_calibrated_and_doubled_odds_are_not():
    rng = np.random.default_rng(0)
    p = rng.random(200_000) * 0.1
    labels = rng.random(200_000) < p
    assert expected_calibration_error(labels, p) < 0.003
    assert predicted_over_observed(labels, p) == pytest.approx(1, abs=0.03)
    assert expected_calibration_error(labels, 2 * p) == pytest.approx(0.05, abs=0.003)
    assert predicted_over_observed(labels, 2 * p) == pytest.approx(2, abs=0.06)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=80), st.integers(1, 30))
def test_bins_hold_every_row_once(rows, bins):
    labels, tenths = (np.array(column) for column in zip(*rows, strict=True))
    found = reliability(labels, tenths / 10, bins)
    assert found.rows.sum() == len(rows) and len(found.rows) <= bins and (found.rows > 0).all()
    assert (np.diff(found.predicted) > 0).all()
    assert found.observed @ found.rows == pytest.approx(labels.sum())
    assert 0 <= expected_calibration_error(labels, tenths / 10, bins) <= 1


def test_without_a_click_there_is_no_ratio():
    assert np.isnan(predicted_over_observed(np.zeros(3), np.full(3, 0.1)))


class TestDownsampledNegatives:
    def test_exact_probabilities(self):
        """p of all data, thinned: p' = p / (p + r (1 - p)); the correction leads back."""
        p = np.linspace(0, 1, 101)
        for rate in (0.01, 0.1, 0.5, 1.0):
            seen = p / (p + rate * (1 - p))
            np.testing.assert_allclose(corrected(seen, rate), p, atol=1e-12)
            assert (corrected(seen, rate) <= seen).all()
        assert corrected(p, None) is p

    def test_one_number_by_hand(self):
        """Of 1000 rows with 20 clicks, 98 other rows are kept: 20 / 118 means 20 / 1000."""
        assert corrected(np.array([20 / 118]), 0.1)[0] == pytest.approx(20 / 1000)

    def test_on_simulated_data_the_corrected_rates_are_those_of_all_data(self):
        """A model that is perfect on thinned rows: the click rate of each group among its thinned rows."""
        rng = np.random.default_rng(1)
        group = rng.integers(0, 20, 400_000)
        clicks = rng.random(400_000) < (0.001 * (1 + group))
        kept = clicks | (rng.random(400_000) < 0.05)
        rates = np.array([clicks[kept & (group == g)].mean() for g in range(20)])
        found = figures(clicks, rates[group], 0.05)
        assert found["predicted_over_observed"] > 8
        assert found["corrected_predicted_over_observed"] == pytest.approx(1, abs=0.02)
        assert (
            found["corrected_expected_calibration_error"] < 0.001 < 0.05 < found["expected_calibration_error"]
        )
        on_thinned = figures(clicks[kept], rates[group][kept], 0.05)
        assert on_thinned["predicted_over_observed"] == pytest.approx(1)
