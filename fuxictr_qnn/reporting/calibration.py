"""Whether predicted click probabilities can be taken at their word.

N rows, B bins of equally many rows in the order of the predictions. Bins of equal width, the other custom,
hold next to nothing where few rows are clicks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

BINS = 20


@dataclass(frozen=True)
class Reliability:
    """Mean prediction, click rate and number of rows in each bin, by rising prediction: (B,) each."""

    predicted: Array
    observed: Array
    rows: Array


def reliability(labels: Array, predictions: Array, bins: int = BINS) -> Reliability:
    """Rows with the same prediction share a bin, so there may be fewer than `bins`."""
    order = np.argsort(predictions, kind="stable")
    labels, predictions = np.asarray(labels, dtype=np.float64)[order], np.asarray(predictions)[order]
    wanted = np.linspace(0, len(predictions), min(bins, len(predictions)) + 1).astype(int)[:-1]
    starts = np.unique(np.searchsorted(predictions, predictions[wanted]))  # back to where a tie begins
    rows = np.diff(np.r_[starts, len(predictions)])
    return Reliability(
        np.add.reduceat(predictions, starts) / rows, np.add.reduceat(labels, starts) / rows, rows
    )


def expected_calibration_error(labels: Array, predictions: Array, bins: int = BINS) -> float:
    """sum_b rows_b / N |predicted_b - observed_b| (Naeini et al. 2015), in probability."""
    found = reliability(labels, predictions, bins)
    return float(np.average(np.abs(found.predicted - found.observed), weights=found.rows))


def predicted_over_observed(labels: Array, predictions: Array) -> float:
    """Predicted clicks over observed ones, 1 where they agree in sum; NaN without a click."""
    clicks = float(np.sum(labels))
    return float(np.sum(predictions)) / clicks if clicks else float("nan")
