"""The simulated task of few planted matches: what is promised about it."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
from data_support import EVERYTHING, config_of, make_spec
from scipy.stats import poisson
from sklearn.metrics import log_loss, roc_auc_score

from fuxictr_qnn.data import MemoryLoader, Places, find_build, load_feature_map, open_dataset
from fuxictr_qnn.data.simulated import planted_interest
from fuxictr_qnn.data.simulated.simulation import best_possible


@pytest.fixture(scope="module")
def spec():
    return make_spec("planted_interest", config_of("planted_interest"))


@cache
def columns(split: str) -> dict[str, np.ndarray]:
    """The split's columns as arrays, histories as a matrix; the matches and lengths of its histories."""
    frame = planted_interest.simulate(split).frame
    found = {name: frame[name].to_numpy() for name in frame.columns if name != "item_seq"}
    found["item_seq"] = frame["item_seq"].to_arrow().flatten().to_numpy().reshape(len(frame), -1)
    found["matches"] = planted_interest.matches(found["item_id"], found["item_seq"])
    return found | {"length": (found["item_seq"] > 0).sum(axis=1)}


def test_is_written_on_first_use_and_valid(tmp_path, spec):
    """Every check of item tables and histories passes, and the loader gives back what was simulated."""
    places = Places(data_root=tmp_path)
    assert find_build(spec, places) is None
    messages: list[str] = []
    built = open_dataset(spec, places, log=messages.append)
    assert len(messages) == 1 and "simulating" in messages[0] and built.warnings == []
    assert find_build(spec, places) == built.feature_map
    assert open_dataset(spec, places, log=messages.append).fingerprint == built.fingerprint
    assert len(messages) == 1

    feature_map = load_feature_map(built.feature_map, spec, EVERYTHING)
    table = feature_map.item_table
    assert np.array_equal(table["item_emb_d128"], planted_interest.items().info["item_emb_d128"].to_list())
    (batch,) = MemoryLoader(feature_map, built.test, split="test", batch_size=10**6)
    simulated = columns("test")
    assert all(np.array_equal(values, simulated[name]) for name, values in batch.items())
    probability = pl.read_parquet(tmp_path / "planted_interest" / "test_probability.parquet")["probability"]
    assert np.array_equal(probability, planted_interest.simulate("test").probability)


def test_is_the_same_every_time_and_differs_between_splits():
    first = planted_interest.simulate("valid")
    planted_interest.simulate.cache_clear()
    planted_interest.items.cache_clear()
    again = planted_interest.simulate("valid")
    assert again is not first and again.frame.equals(first.frame)
    assert not planted_interest.simulate("test").frame["item_seq"].equals(first.frame["item_seq"])
    users = [set(planted_interest.simulate(split).frame["user_id"]) for split in planted_interest.ROWS]
    assert not users[0] & users[1] and not users[1] & users[2]


def complements() -> np.ndarray:
    """Whether item i (column) complements item t (row); both from 0, which is item 1."""
    items = planted_interest.items()
    table = np.zeros((planted_interest.ITEMS + 1,) * 2, bool)
    table[np.arange(1, len(table))[:, None], items.complements[1:]] = True
    return table[1:, 1:]


def test_complements_are_the_best_of_a_directed_relation():
    """u_t J u_i written out by pairs of coordinates: a determinant, so it changes its sign with the order."""
    u = planted_interest.items().directions
    even, odd = u[:, ::2], u[:, 1::2]
    relation = even @ odd.T - odd @ even.T
    assert np.allclose(relation, -relation.T) and np.allclose((u**2).sum(axis=1), 1)
    limit = np.sort(relation, axis=1)[:, -planted_interest.COMPLEMENTS]
    found = complements()
    assert np.array_equal(found, relation >= limit[:, None])
    assert not (found & found.T).any()
    likeness = u @ u.T
    assert abs(likeness[found].mean()) < 0.05 < 0.5 < relation[found].mean()


def test_vectors_tell_the_direction():
    items = planted_interest.items()
    vectors = np.array(items.info["item_emb_d128"].to_list())[1:]
    fitted = vectors @ np.linalg.lstsq(vectors, items.directions, rcond=None)[0]
    left = ((fitted - items.directions) ** 2).sum() / (items.directions**2).sum()
    assert left < 0.05


def test_histories_are_padded_on_the_left_and_of_every_length():
    rows = columns("train")
    real = rows["item_seq"] > 0
    assert not (real[:, :-1] & ~real[:, 1:]).any()
    share = np.bincount(rows["length"], minlength=planted_interest.LENGTH + 1) / len(real)
    assert np.abs(share - 1 / len(share)).max() < 0.003


def test_matches_are_few_poisson_and_free_of_the_length():
    rows = columns("train")
    long = rows["length"] >= 10
    share = np.bincount(rows["matches"][long], minlength=8)[:8] / long.sum()
    assert np.abs(share - poisson(planted_interest.MATCHES).pmf(np.arange(8))).max() < 0.006
    assert abs(np.corrcoef(rows["matches"][long], rows["length"][long])[0, 1]) < 0.015


def test_neither_likeness_nor_the_reverse_relation_tells():
    """Clicks rank by the number of complements, but not by likeness or by whom the target complements."""
    rows, u = columns("train"), planted_interest.items().directions
    target, history = rows["item_id"][:20_000] - 1, rows["item_seq"][:20_000] - 1
    real, label = history >= 0, rows["label"][:20_000]
    reverse = (complements()[history, target[:, None]] & real).sum(axis=1)
    likeness = ((u @ u.T)[target[:, None], history] * real).max(axis=1)
    assert all(abs(roc_auc_score(label, score) - 0.5) < 0.05 for score in (reverse, likeness))


@pytest.mark.parametrize("split", planted_interest.ROWS)
def test_clicks_follow_the_known_probabilities(split):
    rows, p = columns(split), planted_interest.simulate(split).probability
    assert abs(rows["label"].sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())
    best = best_possible("planted_interest", split)
    assert best["AUC"] == pytest.approx(roc_auc_score(rows["label"], p), abs=1e-9)
    assert best["logloss"] == pytest.approx(log_loss(rows["label"], p), abs=1e-9)


def test_the_number_decides_and_neither_the_share_nor_the_length():
    rows = columns("test")

    def auc(score: np.ndarray) -> float:
        return roc_auc_score(rows["label"], score)

    best = best_possible("planted_interest")["AUC"]
    number, share = auc(rows["matches"]), auc(rows["matches"] / np.maximum(rows["length"], 1))
    assert best > number > best - 0.02
    assert share < number - 0.07
    assert auc(rows["length"]) < 0.54
