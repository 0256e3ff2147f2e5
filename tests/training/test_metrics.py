"""Metrics against scikit-learn and against FuxiCTR's own."""

from __future__ import annotations

import numpy as np
import pytest
from fuxictr import metrics as fuxictr_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from fuxictr_qnn import grammar
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.metrics import GROUP_METRICS, ROW_METRICS, evaluate_metrics


def sample(n, seed=0, levels=50):
    rng = np.random.default_rng(seed)
    return (
        (rng.uniform(size=n) < 0.4).astype(float),
        rng.integers(1, levels, n) / levels,
        rng.integers(0, n // 8, n),
    )


@given(st.integers(10, 400), st.integers(0, 1000), st.integers(2, 60))
@settings(max_examples=40, deadline=None)
def test_auc_and_logloss_equal_scikit_learns(n, seed, levels):
    y, p, _ = sample(n, seed, levels)
    y[:2] = 0, 1
    ours = evaluate_metrics(y, p, ["AUC", "logloss"])
    assert ours["AUC"] == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert ours["logloss"] == pytest.approx(log_loss(y, p), rel=1e-12)


def test_logloss_of_certain_predictions_is_clipped_as_scikit_learn_does():
    y, p = np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0])
    assert evaluate_metrics(y, p, ["logloss"])["logloss"] == pytest.approx(log_loss(y, p), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_group_metrics_equal_fuxictrs(seed):
    """FuxiCTR's per-group functions, applied one group at a time."""
    y, p, group = sample(800, seed, levels=10_000)  # no ties: their order is not defined in FuxiCTR
    functions = {
        "gAUC": fuxictr_metrics.gAUC,
        "avgAUC": fuxictr_metrics.avgAUC,
        "MRR": fuxictr_metrics.MRR,
        "NDCG(k=5)": fuxictr_metrics.NDCG(5),
        "NDCG(3)": fuxictr_metrics.NDCG(3),
    }
    ours = evaluate_metrics(y, p, list(functions), group)
    for name, function in functions.items():
        pairs = [function(y[group == g], p[group == g]) for g in np.unique(group)]
        total = np.sum([pair if isinstance(pair, tuple) else (pair, 1) for pair in pairs], axis=0)
        assert ours[name] == pytest.approx(total[0] / total[1], rel=1e-9), name


def test_regression_metrics():
    y, p = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 2.0])
    assert evaluate_metrics(y, p, ["MSE", "RMSE", "MAE"]) == pytest.approx(
        {"MSE": 4.25 / 3, "RMSE": np.sqrt(4.25 / 3), "MAE": 2.5 / 3}
    )


def test_a_metric_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_metrics.py").write_text("def bias(y, p):\n    return p.mean() - y.mean()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert evaluate_metrics([0, 1], [0.5, 0.75], ["own_metrics:bias"]) == {"own_metrics:bias": 0.125}
    with pytest.raises(RequestError, match="own_metrics:nothing cannot be imported"):
        evaluate_metrics([0, 1], [0.5, 0.7], ["own_metrics:nothing"])


def test_unknown_metric_and_missing_groups_are_refused():
    with pytest.raises(RequestError, match=r"metrics: AUCC: expected AUC, .* Did you mean 'AUC'"):
        evaluate_metrics([0, 1], [0.5, 0.7], ["AUCC"])
    with pytest.raises(RequestError, match="gAUC needs group_id"):
        evaluate_metrics([0, 1], [0.5, 0.7], ["gAUC"])


def test_every_metric_that_a_config_may_name_is_there():
    assert {*ROW_METRICS, *GROUP_METRICS} == set(grammar.METRICS)


def test_auc_of_one_class_is_undefined():
    assert np.isnan(evaluate_metrics([1, 1], [0.5, 0.7], ["AUC"])["AUC"])
