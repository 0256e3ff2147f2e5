"""Test rows by the value of a feature: whose rows are counted, and against what."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.slice_plot import draw_slices
from fuxictr_qnn.reporting.slice_values import HeldOutRows, Values, _bucket_names, _ranges
from fuxictr_qnn.reporting.slices import Measured, Sliced, slice_entries, slices_of
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.training import run_seed
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.metrics import auc
from fuxictr_qnn.training.settings import FitSettings

COLUMNS = [
    {"name": "user"},
    {"name": "item", "min_categr_count": 2},
    {"name": "price", "dtype": "float", "type": "numeric"},
    {"name": "age", "dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 4},
    {"name": "tags", "type": "sequence", "max_len": 2},
    {"name": "session", "type": "meta", "dtype": "int", "remap": False},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """Raw data; of the test users u0 ... u24, training has the first 20."""
    root = tmp_path_factory.mktemp("shop")
    (root / "shop").mkdir()
    rng = np.random.default_rng(0)
    for split, rows, users in (("train", 800, 20), ("valid", 200, 20), ("test", 400, 25)):
        user = np.minimum(rng.geometric(0.12, rows) - 1, users - 1)
        frame = {
            "label": (rng.random(rows) < 0.2 + 0.6 * (user % 2)).astype(int),
            "user": [f"u{k}" for k in user],
            "item": [f"i{k}" for k in rng.integers(0, 300, rows)],
            "price": rng.gamma(2.0, 3.0, rows).round(2),
            "age": [str(k) if k < 75 else "" for k in rng.integers(18, 80, rows)],
            "tags": ["a^b"] * rows,
            "session": rng.integers(0, 50, rows) + 10 * (split == "test"),
        }
        pl.DataFrame(frame).write_csv(root / "shop" / f"{split}.csv")
    return root


def experiment(**dataset) -> Experiment:
    return Experiment(
        expid="LR_shop",
        model="LR",
        model_params={},
        features=FeatureUse(),
        fit=FitSettings(batch_size=100, epochs=2, learning_rate=0.05),
        dataset=DatasetSpec(
            **{
                "dataset_id": "shop",
                "source": "data/dataset_config.yaml",
                "train_data": "shop/train.csv",
                "valid_data": "shop/valid.csv",
                "test_data": "shop/test.csv",
                "feature_cols": COLUMNS,
                "label_col": [{"name": "label"}],
                **dataset,
            }
        ),
    )


@pytest.fixture(scope="module")
def runs(shop, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        run_seed(experiment(), seed, places=Places(shop), out=out, gpu=-1)
    return out


@pytest.fixture(scope="module")
def entries(runs):
    ((_, entries),) = entries_by_data(find_runs([runs]).runs).items()
    return entries


def sliced(entries, shop, *features):
    return slice_entries(entries, "shop", list(features), Places(shop))


def raw(shop, split="test") -> pl.DataFrame:
    return pl.read_csv(shop / "shop" / f"{split}.csv")


def test_each_value_is_measured_on_its_own_rows(entries, shop):
    (by_user,) = sliced(entries, shop, "user")
    frame = raw(shop)
    for item in by_user.measured:
        scores = item.run.scores()
        seen = frame["user"].is_in(raw(shop, "train")["user"].implode()).to_numpy()
        rows = {"all": np.ones(400, bool), "known": seen, "unseen": ~seen}.get(item.kind)
        if item.kind == "value":
            rows = (frame["user"] == item.name).to_numpy()
        if rows is None:
            continue
        labels, predictions = frame["label"].to_numpy()[rows], scores.y_pred[rows]
        assert (item.rows, item.clicks) == (rows.sum(), labels.sum())
        assert item.predicted_over_observed == pytest.approx(predictions.sum() / labels.sum())
        if 0 < labels.sum() < len(labels):
            assert item.auc == pytest.approx(auc(labels, predictions))
    kinds = [item.kind for item in by_user.measured if item.run.seed == 1]
    assert kinds == ["all", *["value"] * 12, "rest", "known", "unseen"]
    whole = next(item for item in by_user.measured if item.kind == "all")
    assert whole.auc == pytest.approx(whole.run.record.test["AUC"])


def test_parts_add_up(entries, shop):
    for table in sliced(entries, shop, "user", "item", "price", "age", "session"):
        own = [item for item in table.measured if item.run.seed == 2]
        rows = {kind: sum(item.rows for item in own if item.kind == kind) for kind in {i.kind for i in own}}
        parts = rows["value"] + rows.get("rest", 0)
        assert parts == rows.get("known", parts) and parts + rows.get("unseen", 0) == rows["all"] == 400


def test_the_largest_values_come_first_and_numbers_in_their_order(entries, shop):
    by_user, by_price = sliced(entries, shop, "user", "price")
    counts = [item.rows for item in by_user.measured if item.kind == "value" and item.run.seed == 1]
    assert counts == sorted(counts, reverse=True)
    values = [item for item in by_price.measured if item.kind == "value" and item.run.seed == 1]
    assert len(values) == 10 and {item.rows for item in values} <= set(range(37, 44))
    assert values[0].name.startswith("x \u2264") and values[-1].name.startswith("x >")
    cut = float(values[0].name.split()[-1])
    assert values[0].rows == (raw(shop)["price"] <= cut + 1e-6).sum()


@pytest.mark.parametrize(
    "numbers", [np.arange(1_600_000_000, 1_600_000_000 + 10_000, 7), np.linspace(0, 1e-9, 50) + 1]
)
def test_ranges_of_large_numbers_have_names_of_their_own(numbers):
    """Six digits would call all of them 1.6e+09, and 1."""
    values = _ranges("time", numbers.astype(np.float64))
    assert len(set(values.names)) == len(values.names) == 10
    buckets = _bucket_names(np.arange(1, 5), {"boundaries": numbers[:3].astype(float).tolist()})
    assert len(set(buckets)) == 4


def test_a_value_called_as_a_slice_is_has_a_row_of_its_own():
    pytest.importorskip("matplotlib")
    numbers = {"rows": 9, "clicks": 3, "auc": 0.6, "predicted_over_observed": 1.0}
    numbers |= {"expected_calibration_error": 0.1, "corrected": 1.0}
    measured = [Measured(None, "LR", "all rows", kind, **numbers) for kind in ("all", "value")]
    figure = draw_slices(Sliced("user", None, measured), [SimpleNamespace(label="LR", recipe=False)]).figure
    assert figure.axes[0].get_lines()[0].get_ydata().tolist() == [0, 1]


def test_names_are_no_longer_than_they_need_be():
    assert _ranges("x", np.repeat([0.25, 1234.5], 9)).names == ["x \u2264 0.25", "x > 0.25"]


def test_rare_values_are_unseen_and_buckets_named(entries, shop):
    by_item, by_age = sliced(entries, shop, "item", "age")
    counts = raw(shop, "train")["item"].value_counts()
    often = counts.filter(pl.col("count") >= 2)["item"]
    unseen = next(item for item in by_item.measured if item.kind == "unseen")
    assert unseen.rows == (~raw(shop)["item"].is_in(often.implode())).sum()
    names = {item.name for item in by_age.measured if item.kind == "value"}
    assert "(missing)" in names and sum("x" in name for name in names) == 4


def test_meta_values_are_compared_with_those_of_training(entries, shop):
    (by_session,) = sliced(entries, shop, "session")
    unseen = next(item for item in by_session.measured if item.kind == "unseen")
    assert unseen.rows == (raw(shop)["session"] >= 50).sum()
    values = raw(shop).filter(pl.col("session") < 50)["session"].value_counts()
    named = dict(values.iter_rows())
    for item in by_session.measured:
        if item.kind == "value":
            assert item.rows == named[int(item.name.removeprefix("id "))]


def test_where_nothing_is_new_it_is_said(entries, shop):
    by_age, by_price = sliced(entries, shop, "age", "price")
    assert {item.kind for item in by_age.measured} == {item.kind for item in by_price.measured}
    said = "Training has seen all values of the test rows."
    assert said in by_age.table.notes and said not in by_price.table.notes


def test_slices_of_a_feature_with_few_values():
    values = Values("x", np.array([1, 0, 1, 1]), ["a", "b"], np.array([False, True, False, False]))
    found = [(part.name, part.kind, part.mask.tolist()) for part in slices_of(values)]
    assert found == [
        ("all rows", "all", [True] * 4),
        ("b", "value", [True, False, True, True]),
        ("known values", "known", [True, False, True, True]),
        ("unseen in training", "unseen", [False, True, False, False]),
    ]


def test_downsampled_negatives_have_a_corrected_column(shop, tmp_path):
    run_seed(experiment(negative_sampling_rate=0.25), 1, places=Places(shop), out=tmp_path, gpu=-1)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    (by_user,) = sliced(entries, shop, "user")
    whole = by_user.measured[0]
    scores = whole.run.scores()
    p = scores.y_pred
    assert whole.corrected == pytest.approx((0.25 * p / (0.25 * p + 1 - p)).sum() / scores.y_true.sum())
    kept = json.loads((whole.run.folder / "metrics.json").read_text())["calibration"]
    assert kept["negative_sampling_rate"] == 0.25
    assert kept["test"]["corrected_predicted_over_observed"] == pytest.approx(whole.corrected)
    assert kept["test"]["predicted_over_observed"] == pytest.approx(whole.predicted_over_observed)
    assert "corrected" in " ".join(by_user.table.notes)


def test_without_the_key_nothing_is_corrected(entries, shop):
    (by_user,) = sliced(entries, shop, "user")
    assert all(np.isnan(item.corrected) for item in by_user.measured)
    assert all("calibration" not in (i.run.folder / "metrics.json").read_text() for i in by_user.measured)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["usr"], "--slices usr: not a feature of shop. Did you mean 'user'"),
        (["tags"], "a sequence holds several values"),
    ],
)
def test_wrong_features(entries, shop, features, said):
    with pytest.raises(RequestError, match=said):
        sliced(entries, shop, *features)


def test_other_data_no_data_and_no_scores_are_refused(entries, runs, shop, tmp_path):
    with pytest.raises(RequestError, match="none of|not built"):
        sliced(entries, tmp_path, "user")
    shutil.copytree(
        shop / "shop", tmp_path / "data" / "shop", ignore=shutil.ignore_patterns("built-*", "*.json")
    )
    with pytest.raises(RequestError, match="not built"):
        sliced(entries, tmp_path / "data", "user")
    file = tmp_path / "data" / "shop" / "test.csv"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    run_seed(experiment(), 1, places=Places(tmp_path / "data"), out=tmp_path / "out", gpu=-1)
    with pytest.raises(RequestError, match="other data here"):
        sliced(entries, tmp_path / "data", "user")
    shutil.copytree(runs, tmp_path / "bare")
    next((tmp_path / "bare").rglob("test_scores.parquet")).unlink()
    ((_, bare),) = entries_by_data(find_runs([tmp_path / "bare"]).runs).items()
    with pytest.raises(RequestError, match="keeps no test scores"):
        sliced(bare, shop, "user")


def test_real_rows_keep_the_files_order(entries, shop):
    data = HeldOutRows(entries[0].runs[0], ["user", "price"], Places(shop))
    values = data.values("user")
    names = [values.names[code] for code in values.codes]
    expected = raw(shop)["user"].to_list()
    known = set(raw(shop, "train")["user"])
    assert names == [name if name in known else "unseen in training" for name in expected]
