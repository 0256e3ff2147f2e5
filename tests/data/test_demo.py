"""The simulated click log: what is promised about it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from data_support import config_of, make_spec, quiet
from sklearn.metrics import log_loss, roc_auc_score

from fuxictr_qnn.data import Places, find_build, open_dataset
from fuxictr_qnn.data.simulated import demo
from fuxictr_qnn.data.simulated.simulation import best_possible


@pytest.fixture(scope="module")
def spec():
    return make_spec("demo", config_of("demo"))


def test_is_written_and_built_on_first_use(tmp_path, spec):
    places = Places(data_root=tmp_path / "data")
    assert find_build(spec, places) is None
    messages: list[str] = []
    built = open_dataset(spec, places, log=messages.append)
    assert "simulating" in messages[0] and built.facts["rows"] == demo.ROWS
    for split in demo.ROWS:
        written = pl.read_csv(tmp_path / "data" / "demo" / f"{split}.csv")
        probability = pl.read_parquet(tmp_path / "data" / "demo" / f"{split}_probability.parquet")
        assert np.array_equal(written.to_numpy(), demo.simulate(split).frame.to_numpy())
        assert np.array_equal(probability["probability"], demo.simulate(split).probability)
    again = open_dataset(spec, places, log=messages.append)
    assert again.reused and len(messages) == 2
    assert find_build(spec, places) == built.feature_map


def test_a_split_set_to_null_stays_out(tmp_path, spec):
    built = open_dataset(spec.model_copy(update={"test_data": None}), Places(data_root=tmp_path), log=quiet)
    assert built.test is None and built.train is not None


def test_damaged_files_are_written_anew(tmp_path, spec):
    places = Places(data_root=tmp_path)
    first = open_dataset(spec, places, log=quiet)
    (tmp_path / "demo" / "train.csv").write_text("click\n1\n")
    assert open_dataset(spec, places, log=quiet).fingerprint == first.fingerprint


def test_goes_to_the_cache_where_the_data_root_cannot_be_written(tmp_path, spec, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir(mode=0o555)
    built = open_dataset(spec, Places(data_root=tmp_path / "data"), log=quiet)
    assert built.folder.parent == tmp_path / "cache" / "fuxictr_qnn" / "demo"


@pytest.mark.parametrize("split", demo.ROWS)
def test_clicks_follow_the_known_probabilities(split):
    rows = demo.simulate(split)
    clicks, p = rows.frame["click"].to_numpy(), rows.probability
    deviation = np.sqrt((p * (1 - p)).sum())
    assert abs(clicks.sum() - p.sum()) < 4 * deviation
    best = best_possible("demo", split)
    assert best["AUC"] == pytest.approx(roc_auc_score(clicks, p), abs=1e-9)
    assert best["logloss"] == pytest.approx(log_loss(clicks, p), abs=1e-9)


def test_is_the_same_every_time_and_differs_between_splits():
    first = demo.simulate("valid")
    demo.simulate.cache_clear()
    again = demo.simulate("valid")
    assert again is not first and again.frame.equals(first.frame)
    assert not demo.simulate("test").frame.equals(first.frame)


def test_frequencies_are_those_of_zipf():
    frame = demo.simulate("train").frame
    for field, (size, exponent) in demo.FIELDS.items():
        share = np.bincount(frame[field], minlength=size) / len(frame)
        law = np.arange(1, size + 1) ** -exponent
        assert np.abs(share - law / law.sum()).max() < 0.01


def test_every_order_of_interaction_adds_what_lower_orders_miss():
    """Cell means over one, two, three fields of a planted triple: AUC grows at each step."""
    frame = demo.simulate("train").frame
    clicks = frame["click"].to_numpy()
    triple = next(term for term in demo.TERMS if len(term) == 3)

    def auc_of(fields: tuple[str, ...]) -> float:
        return roc_auc_score(clicks, frame.select(pl.col("click").mean().over(list(fields)))["click"])

    pairs = [auc_of(pair) for pair in (triple[:2], triple[1:], triple[::2])]
    assert auc_of(triple) > max(pairs) + 0.05 > max(auc_of((field,)) for field in triple) + 0.05
