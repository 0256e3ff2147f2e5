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


def corrected(predictions: Array, rate: float | None) -> Array:
    """r p / (r p + 1 - p): probabilities in all data, where training kept the share r of the negatives.

    All clicks are kept and r of the other rows, so the odds in training, p / (1 - p), are 1/r times those in
    all data. With r < 1 the result is below p; the order of rows, and so AUC, stays. Source: He et al.,
    "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 6.3.

    Args:
        predictions: p, any shape.
        rate: r, the dataset's `negative_sampling_rate`, above 0 and at most 1; None: all were kept.
    """
    return predictions if rate is None else rate * predictions / (rate * predictions + (1 - predictions))


def figures(labels: Array, predictions: Array, rate: float | None = None) -> dict[str, float]:
    """Predicted over observed clicks and calibration error, of plain and of corrected predictions."""
    found = {}
    for begin, values in {"": predictions, "corrected_": corrected(predictions, rate)}.items():
        found[f"{begin}predicted_over_observed"] = predicted_over_observed(labels, values)
        found[f"{begin}expected_calibration_error"] = expected_calibration_error(labels, values)
    return found
