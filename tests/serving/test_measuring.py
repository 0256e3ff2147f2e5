"""Metrics that come block by block equal those of all rows together."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fuxictr_qnn.serving.measuring import Measures, StreamedAuc
from fuxictr_qnn.training.metrics import auc, evaluate_metrics

NAMES = ["gAUC", "AUC", "logloss", "MSE", "RMSE", "MAE", "NDCG(k=5)", "binary_crossentropy"]


def rows(count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 5, count).astype(np.float32).astype(np.float64)
    return (rng.random(count) < p).astype(np.float64), p, rng.integers(0, 30, count)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_equal_those_of_all_rows(block: int):
    y, p, group = rows(1000)
    measures = Measures(NAMES, groups=True)
    for start in range(0, 1000, block):
        part = slice(start, start + block)
        measures.add(y[part], p[part], [f"g{one}" for one in group[part]])
    found, wanted = measures.values(), evaluate_metrics(y, p, NAMES, group)
    assert list(found) == NAMES
    for name in NAMES:
        assert found[name] == pytest.approx(wanted[name], abs=1e-12), name


def test_without_groups_and_without_rows():
    assert list(Measures(NAMES, groups=False).values()) == []
    measures = Measures(["gAUC", "logloss"], groups=False)
    measures.add(*rows(10)[:2])
    assert list(measures.values()) == ["logloss"]


def test_one_class_has_no_auc():
    measures = Measures(["AUC", "logloss"], groups=False)
    measures.add(np.ones(5), np.linspace(0, 1, 5))
    assert list(measures.values()) == ["logloss"]


class TestManyRows:
    @pytest.mark.parametrize("scale", [1, 1e-3, 1e-6])
    def test_bins_are_fine_enough(self, scale: float, monkeypatch):
        monkeypatch.setattr(StreamedAuc, "EXACT", 1000)
        y, p, _ = rows(200_000)
        streamed = StreamedAuc()
        for start in range(0, len(y), 10_000):
            streamed.add(y[start : start + 10_000], scale * p[start : start + 10_000])
        assert streamed._kept == [] and streamed.value() == pytest.approx(auc(y, p), abs=2e-6)

    def test_the_ends_of_the_scale(self, monkeypatch):
        monkeypatch.setattr(StreamedAuc, "EXACT", 1)
        streamed = StreamedAuc()
        streamed.add(np.array([0, 1, 0, 1.0]), np.array([0, 1, 0.5, 0.5]))
        assert streamed.value() == auc(np.array([0, 1, 0, 1.0]), np.array([0, 1, 0.5, 0.5])) == 0.875
        streamed = StreamedAuc()
        streamed.add(np.ones(3), np.ones(3))
        assert math.isnan(streamed.value())
