"""Hash and quantile buckets: their ids against their definitions, and what does not go with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_support import make_spec, quiet, refused_and_unchanged
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.data import BuiltDataset, Places, build_dataset
from fuxictr_qnn.data.building.buckets import HashBuckets, QuantileBuckets, hash_texts

MASK = 2**64 - 1


def fnv1a(content: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in content:
        state = (state ^ byte) * 0x100000001B3 & MASK
    return state


def fmix64(state: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor & MASK
    return state ^ state >> 33


def test_fnv_is_the_published_one():
    """Vectors of draft-eastlake-fnv."""
    assert fnv1a(b"") == 0xCBF29CE484222325 and fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"foobar") == 0x85944171F73967E8


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=20)))
def test_the_hash_of_every_text(texts):
    expected = [fmix64(fnv1a(text.encode())) for text in texts]
    assert hash_texts(pl.Series(texts, dtype=pl.String)).tolist() == expected


def test_ids_never_change():
    """These numbers are in people's trained embeddings."""
    values = pl.Series(["a", "42", "Ünïcode 漢字", "", None])
    assert HashBuckets(1000)(values).tolist() == [316, 477, 323, 1001, 1001]
    assert HashBuckets(1000)(pl.Series([42]))[0] == 477
    assert HashBuckets(7).size == 9


def test_a_slice_of_a_column_has_the_same_ids():
    values = pl.Series([f"value {number}" for number in range(100)])
    np.testing.assert_array_equal(HashBuckets(50)(values)[30:60], HashBuckets(50)(values[30:60]))


def test_hash_buckets_fill_evenly():
    ids = HashBuckets(64)(pl.Series(np.arange(64_000).astype(str)))
    counts = np.bincount(ids, minlength=66)[1:65]
    assert ((counts - 1000) ** 2 / 1000).sum() < 110  # chi-squared with 63 degrees of freedom: p > 2e-4


@pytest.mark.parametrize("buckets", [1, 2, 4, 10, 1000])
@pytest.mark.parametrize("kind", ["normal", "tied", "mostly zero", "constant"])
def test_boundaries_are_the_exact_quantiles(buckets, kind):
    rng = np.random.default_rng(3)
    values = {
        "normal": rng.normal(size=501),
        "tied": rng.integers(0, 7, 500).astype(float),
        "mostly zero": np.where(rng.random(400) < 0.8, 0, rng.random(400)),
        "constant": np.full(9, 2.5),
    }[kind]
    found = QuantileBuckets.fit(pl.Series("value", values).value_counts(name="count"), buckets)
    wanted = np.arange(1, buckets) / buckets
    expected = np.unique(np.quantile(values, wanted, method="inverted_cdf")) if buckets > 1 else np.empty(0)
    np.testing.assert_array_equal(found.boundaries, expected[expected < values.max()])
    ids = found(pl.Series([*values, None, float("nan"), -1e300, 1e300]))
    assert ids[:-4].min() == 1 and ids[:-4].max() == found.size - 2 <= buckets
    assert ids[-4:].tolist() == [found.size - 1, found.size - 1, 1, found.size - 2]
    if kind == "normal" and buckets <= 10:
        assert np.ptp(np.bincount(ids[:-4])[1:]) <= 1


ROWS = {"train": 300, "valid": 60, "test": 60}
CONFIG = {
    **{f"{split}_data": f"{split}.csv" for split in ROWS},
    "feature_cols": [
        {"name": "city", "category_processor": "hash_bucket", "num_buckets": 8},
        {"name": "zip", "dtype": "int", "category_processor": "hash_bucket", "num_buckets": 5},
        {"name": "seen", "type": "sequence", "category_processor": "hash_bucket", "num_buckets": 8,
         "share_embedding": "city", "max_len": 3},
        {"name": "price", "dtype": "float", "category_processor": "quantile_bucket", "num_buckets": 4},
        {"name": "age", "dtype": "int", "category_processor": "quantile_bucket", "num_buckets": 3,
         "fill_na": 30},
        {"name": "user"},
    ],
    "label_col": {"name": "label"},
}  # fmt: skip


def raw(split: str) -> pl.DataFrame:
    rng = np.random.default_rng(len(split))
    rows = ROWS[split]

    def gaps(values) -> pl.Series:
        return pl.Series([None if rng.random() < 0.15 else value for value in values])

    cities = np.array(["Rom", "Ulm", "Köln", "Wien", "Bonn"])
    return pl.DataFrame(
        {
            "city": gaps(rng.choice(cities, rows).tolist()),
            "zip": gaps(rng.integers(0, 99, rows).tolist()),
            "seen": gaps(["^".join(rng.choice(cities, count)) for count in rng.integers(0, 5, rows)]),
            "price": gaps(rng.normal(10, 4, rows).round(2).tolist()),
            "age": gaps(rng.integers(18, 90, rows).tolist()),
            "user": rng.choice(["a", "b", "c"], rows),
            "label": rng.integers(0, 2, rows),
        }
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Places:
    root = tmp_path_factory.mktemp("data")
    (root / "buckets").mkdir()
    for split in ROWS:
        raw(split).write_csv(root / "buckets" / f"{split}.csv")
    return Places(data_root=root)


@pytest.fixture(scope="module")
def built(places) -> BuiltDataset:
    return build_dataset(make_spec("buckets", CONFIG), places, log=quiet)


def test_ids_of_a_build(built):
    frame, cells = pl.read_parquet(built.valid), raw("valid")
    for name, count in (("city", 8), ("zip", 5)):
        ids = [
            count + 1 if cell is None else 1 + fmix64(fnv1a(str(cell).encode())) % count
            for cell in cells[name]
        ]
        assert frame[name].to_list() == ids and count + 1 in ids
    seen = [cell.split("^") if cell else [] for cell in cells["seen"]]
    ids = [[1 + fmix64(fnv1a(city.encode())) % 8 for city in cities][:3] for cities in seen]
    assert frame["seen"].to_list() == [row + [0] * (3 - len(row)) for row in ids]
    prices = raw("train")["price"].drop_nulls().to_numpy()
    boundaries = np.quantile(prices, [0.25, 0.5, 0.75], method="inverted_cdf")
    ids = [5 if cell is None else 1 + int((boundaries < cell).sum()) for cell in cells["price"]]
    assert frame["price"].to_list() == ids and 5 in ids
    assert set(frame["age"]) == {1, 2, 3}  # fill_na: a value like others


def test_what_a_model_needs_to_know(built):
    content = json.loads(built.feature_map.read_text())
    features = {name: feature for entry in content["features"] for name, feature in entry.items()}
    assert features["city"] == {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": 10}
    sizes = {name: feature["vocab_size"] for name, feature in features.items()}
    assert sizes == {"city": 10, "zip": 7, "seen": 10, "price": 6, "age": 5, "user": 5}
    assert content["total_features"] == sum(sizes.values()) - sizes["seen"]
    assert list(json.loads((built.folder / "feature_vocab.json").read_text())) == ["user"]
    state = json.loads((built.folder / "preprocessing.json").read_text())["buckets"]
    assert state["zip"] == {"num_buckets": 5} and len(state["price"]["boundaries"]) == 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"name": "city", "category_processor": "hash_bucket"}, "hash_bucket needs num_buckets"),
        ({"name": "price", "dtype": "float", "category_processor": "hash_bucket", "num_buckets": 3},
         "needs text or whole numbers for hash_bucket, but holds Float64"),
        ({"name": "city", "category_processor": "quantile_bucket", "num_buckets": 3},
         "needs numbers for quantile_bucket"),
        ({"name": "seen", "type": "sequence", "category_processor": "quantile_bucket", "num_buckets": 3},
         "quantile_bucket needs type categorical, not sequence"),
        ({"name": "price", "dtype": "float", "type": "numeric", "category_processor": "quantile_bucket",
          "num_buckets": 3}, "needs type categorical, not numeric"),
        ({"name": "city", "category_processor": "hash_bucket", "num_buckets": 3, "min_categr_count": 2},
         "min_categr_count has no use with category_processor hash_bucket"),
        ({"name": "seen", "type": "sequence", "category_processor": "hash_bucket", "num_buckets": 3,
          "share_embedding": "user"}, "share_embedding 'user' has other buckets"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(places, column, message):
    spec = make_spec("buckets", {**CONFIG, "feature_cols": [{"name": "user"}, column]})
    (problem,) = refused_and_unchanged(spec, places)
    assert message in problem


def test_a_column_without_values_has_no_quantiles(places, tmp_path):
    (tmp_path / "buckets").mkdir()
    for split in ROWS:
        empty = raw(split).with_columns(price=None)
        empty.write_csv(tmp_path / "buckets" / f"{split}.csv")
    spec = make_spec("buckets", CONFIG)
    (problem,) = refused_and_unchanged(spec, Places(data_root=Path(tmp_path)))
    assert "column 'price': the training data has no value to make buckets of" in problem
