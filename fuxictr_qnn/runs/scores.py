"""Scores of the rows of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """Predictions and labels of N rows in the loader's order; of the test split that of the file.

    Attributes:
        y_pred: (N,) probabilities.
        y_true: (N,) labels.
        group: (N,) group ids, None where the data names no groups.
    """

    y_pred: np.ndarray
    y_true: np.ndarray
    group: np.ndarray | None
