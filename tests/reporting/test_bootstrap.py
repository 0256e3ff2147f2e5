"""The bootstrap over rows and users, against scikit-learn on rows that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fuxictr_qnn.reporting import bootstrap
from fuxictr_qnn.reporting.bootstrap import GroupScores, RankedScores, interval, resample
from fuxictr_qnn.training.metrics import auc, gauc


def made(
    rows: int, users: int, seed: int = 0, decimals: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and users that all have rows."""
    rng = np.random.default_rng(seed)
    user = np.r_[np.arange(users), rng.integers(users, size=rows - users)]
    label = rng.integers(2, size=rows).astype(float)
    return label, np.round(rng.normal(size=rows) + label, decimals), user


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=300),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_auc_with_weights_is_that_of_repeated_rows(rows, times):
    label, score, user = (np.array(column) for column in zip(*rows, strict=True))
    found = RankedScores(label, score, user).auc(np.array(times, dtype=np.float32)[:, None])[0]
    again = np.repeat(np.arange(len(label)), np.array(times)[user])
    if len(set(label[again])) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(label[again], score[again]), abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_many_rows_and_resamples_at_once(decimals):
    label, score, user = made(3000, 100, decimals=decimals)
    weights = np.random.default_rng(1).integers(4, size=(100, 5)).astype(np.float32)
    found = RankedScores(label, score, user).auc(weights)
    for column, value in zip(weights.T.astype(int), found, strict=True):
        again = np.repeat(np.arange(3000), column[user])
        assert value == pytest.approx(roc_auc_score(label[again], score[again]), abs=1e-12)


def test_gauc_with_weights_is_the_weighted_mean_of_the_users():
    label, score, user = made(500, 30)
    ones = np.ones((30, 1))
    assert GroupScores(label, score, user).auc(ones)[0] == pytest.approx(gauc(label, score, user), rel=1e-12)
    times = np.random.default_rng(2).integers(3, size=30)
    kept = np.flatnonzero(times[user] > 0)
    copies = np.concatenate([kept[times[user[kept]] > copy] for copy in range(times.max())])
    number = np.concatenate([np.full((times[user[kept]] > copy).sum(), copy) for copy in range(times.max())])
    expected = gauc(label[copies], score[copies], user[copies] * 10 + number)  # each copy a user of its own
    assert GroupScores(label, score, user).auc(times[:, None])[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("clustered", [True, False])
def test_resampling_draws_clusters_with_replacement(clustered):
    """The same numbers as a loop that repeats rows and calls scikit-learn."""
    label, score, user = made(200, 12)
    clusters = user if clustered else np.arange(200)
    count = clusters.max() + 1
    found = resample([RankedScores(label, score, user if clustered else None)], count, repeats=20, seed=5)[0]
    rng, expected = np.random.default_rng(5), [roc_auc_score(label, score)]
    for _ in range(20):
        drawn = rng.integers(count, size=count)
        rows = np.concatenate([np.flatnonzero(clusters == cluster) for cluster in drawn])
        expected.append(roc_auc_score(label[rows], score[rows]))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_blocks_of_resamples_change_nothing(monkeypatch):
    label, score, user = made(200, 12)
    models = [RankedScores(label, score, user), GroupScores(label, score, user)]
    whole = resample(models, 12, repeats=25)
    monkeypatch.setattr(bootstrap, "TABLE_BYTES", 4 * 12 * 7)
    np.testing.assert_allclose(resample(models, 12, repeats=25), whole, atol=1e-12)


def test_models_are_measured_on_the_same_resamples():
    label, score, user = made(300, 20)
    first, second = resample([RankedScores(label, score, user)] * 2, 20, repeats=50)
    assert interval(first - second) == (0, 0)
    reversed_ = resample([RankedScores(label, -score, user)], 20, repeats=50)[0]
    np.testing.assert_allclose(first + reversed_, 1, atol=1e-12)


def test_its_spread_is_the_known_one_where_scores_say_nothing():
    """Mann and Whitney: the variance of an AUC of 1/2 is (n1 + n0 + 1) / (12 n1 n0)."""
    rng = np.random.default_rng(3)
    label = np.r_[np.ones(600), np.zeros(900)]
    found = resample([RankedScores(label, rng.normal(size=1500))], 1500, repeats=600)[0]
    expected = np.sqrt(1501 / (12 * 600 * 900))
    assert found[0] == pytest.approx(auc(label, np.random.default_rng(3).normal(size=1500)), abs=1e-12)
    assert found[1:].std() == pytest.approx(expected, rel=0.1)
    low, high = interval(found)
    assert high - low == pytest.approx(2 * 1.96 * expected, rel=0.15)


def test_users_that_go_together_widen_the_interval():
    """With each user's rows all alike, 20 users tell far less than their 400 rows."""
    label, score, _ = made(20, 20, decimals=6)
    label, score, user = np.repeat(label, 20), np.repeat(score, 20), np.repeat(np.arange(20), 20)
    by_user = interval(resample([RankedScores(label, score, user)], 20, repeats=300)[0])
    by_row = interval(resample([RankedScores(label, score)], 400, repeats=300)[0])
    assert by_user[1] - by_user[0] > 2 * (by_row[1] - by_row[0])
