"""Item tables and histories: how they are read, and what a batch holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from data_support import (
    EVERYTHING,
    config_of,
    item_info,
    item_rows,
    items_spec,
    make_spec,
    quiet,
    refused_and_unchanged,
    write_items,
)

from fuxictr_qnn.data import MemoryLoader, Places, find_build, load_feature_map, open_dataset
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.run_folder import RunFolder

LEVEL = {"dtype": "int", "type": "categorical", "source": "item", "vocab_size": 9}


def opened(spec, places):
    built = open_dataset(spec, places, log=quiet)
    return built, load_feature_map(built.feature_map, spec, EVERYTHING)


def batch_of(spec, places, split="train"):
    built, feature_map = opened(spec, places)
    (batch,) = MemoryLoader(feature_map, getattr(built, split), split="valid", batch_size=100)
    return batch


def test_the_feature_map_carries_the_table(tmp_path):
    built, feature_map = opened(items_spec(), write_items(tmp_path))
    assert built.warnings == []
    assert (feature_map.item_key, feature_map.item_history) == ("item_id", "item_seq")
    table, source = feature_map.item_table, item_info()
    assert {name: (values.dtype, tuple(values.shape)) for name, values in table.items()} == {
        "item_id": (torch.int32, (6,)),
        "tags": (torch.int32, (6, 3)),
        "vector": (torch.float32, (6, 2)),
    }
    for name, values in table.items():
        assert values.tolist() == source[name].to_list()


def test_fuxictrs_counts_include_the_features_of_items(tmp_path):
    _, feature_map = opened(items_spec(), write_items(tmp_path))
    assert feature_map.num_fields == 4
    assert feature_map.get_num_fields("item") == 3 and feature_map.sum_emb_out_dim() == 16
    assert feature_map.total_features == 3 + 6 + 9


def test_a_batch_holds_ids_only(tmp_path):
    rows = item_rows()
    batch = batch_of(items_spec(), write_items(tmp_path))
    assert {name: (values.dtype, tuple(values.shape)) for name, values in batch.items()} == {
        "user_id": (torch.int64, (7,)),
        "item_seq": (torch.int32, (7, 4)),
        "level": (torch.int32, (7,)),
        "item_id": (torch.int32, (7,)),
        "label": (torch.float32, (7,)),
    }
    assert all(batch[name].tolist() == rows[name].to_list() for name in batch)
    assert batch["item_seq"][0].tolist() == [0, 0, 0, 0]  # an empty history


@pytest.mark.parametrize("max_len", [1, 3, 4, 6])
def test_max_len_keeps_the_last_items(tmp_path, max_len):
    rows = np.array(item_rows()["item_seq"].to_list())
    expected = np.pad(rows, ((0, 0), (6, 0)))[:, -max_len:]
    batch = batch_of(items_spec({"item_seq": {"max_len": max_len}}), write_items(tmp_path))
    assert np.array_equal(batch["item_seq"], expected)


def test_shuffled_rows_stay_together(tmp_path):
    built, feature_map = opened(items_spec(), write_items(tmp_path))
    loader = MemoryLoader(feature_map, built.train, split="train", batch_size=3, shuffle=True)
    rows = {row["user_id"]: row for row in item_rows().iter_rows(named=True)}
    seen = 0
    for batch in loader:
        for at, user in enumerate(batch["user_id"].tolist()):
            assert {name: values[at].tolist() for name, values in batch.items()} == rows[user]
            seen += 1
    assert seen == len(rows)


def test_part_files_and_arrays(tmp_path):
    fixed = item_rows().with_columns(pl.col("item_seq").cast(pl.Array(pl.Int16, 4)))
    places = write_items(tmp_path)
    (tmp_path / "shop" / "parts").mkdir()
    fixed[:3].write_parquet(tmp_path / "shop" / "parts" / "0.parquet")
    fixed[3:].write_parquet(tmp_path / "shop" / "parts" / "1.parquet")
    expected = batch_of(items_spec(), places)
    batch = batch_of(items_spec(train_data="parts"), places)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_rows_in_another_order_are_sorted_and_it_is_said(tmp_path):
    built, feature_map = opened(
        items_spec(), write_items(tmp_path, item_info=item_info()[[3, 0, 5, 1, 2, 4]])
    )
    assert feature_map.item_table["vector"].tolist() == item_info()["vector"].to_list()
    (warning,) = built.warnings
    assert "item_info.parquet' is not in the order of the ids (row 0 holds item_id 3)" in warning


def test_the_padding_row_may_be_missing(tmp_path):
    built, feature_map = opened(items_spec(), write_items(tmp_path, item_info=item_info()[1:]))
    assert feature_map.item_table["vector"].tolist() == item_info()["vector"].to_list()
    (warning,) = built.warnings
    assert "has no row for item_id 0" in warning


@pytest.mark.parametrize(
    ("padding", "max_len", "expected"),
    [("post", 3, [1, 2, 3]), ("post", 2, [1, 2]), ("pre", 2, [2, 3]), ("post", 4, [1, 2, 3, 0]),
     ("pre", 4, [0, 1, 2, 3])],
)  # fmt: skip
def test_lists_of_items_are_padded_and_cut(tmp_path, padding, max_len, expected):
    spec = items_spec({"tags": {"padding": padding, "max_len": max_len}})
    _, feature_map = opened(spec, write_items(tmp_path))
    assert feature_map.item_table["tags"][3].tolist() == expected


def test_item_features_join_by_id(tmp_path):
    more = pl.DataFrame(
        {"item_id": [5, 4, 3, 2, 1, 0], "level": [5, 4, 3, 2, 1, 0], "vector": [[9.0] * 2] * 6}
    )
    places = write_items(tmp_path, item_feature=more)
    spec = items_spec({"level": LEVEL}, item_features="item_feature.parquet")
    _, feature_map = opened(spec, places)
    assert list(feature_map.item_table) == ["level", "item_id", "tags", "vector"]
    assert feature_map.item_table["level"].tolist() == [0, 1, 2, 3, 4, 5]
    assert feature_map.item_table["vector"].tolist() == item_info()["vector"].to_list()  # item_info's own
    assert "level" not in batch_of(spec, places)


def test_fill_na_says_what_a_missing_value_is(tmp_path):
    more = pl.DataFrame({"item_id": [1, 2, 3, 4], "level": [1, 2, 3, 4]})
    places = write_items(tmp_path, item_feature=more)
    spec = items_spec({"level": LEVEL}, item_features="item_feature.parquet")
    (problem,) = refused_and_unchanged(spec, places)
    assert "item_features: " in problem and "column 'level' has no value in 1 rows" in problem
    _, feature_map = opened(
        items_spec({"level": {**LEVEL, "fill_na": 7}}, item_features="item_feature.parquet"), places
    )
    assert feature_map.item_table["level"].tolist() == [0, 1, 2, 3, 4, 7]


def test_fill_na_fills_missing_lists(tmp_path):
    info = item_info().with_columns(pl.when(pl.col("item_id") != 3).then(pl.col("tags", "vector")))
    spec = items_spec({"tags": {"fill_na": 4}, "vector": {"fill_na": 0.5}})
    _, feature_map = opened(spec, write_items(tmp_path, item_info=info))
    assert feature_map.item_table["tags"][3].tolist()[:2] == [4, 0]
    assert feature_map.item_table["vector"][3].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("fill_na", ["", "few", 1.5])
def test_fill_na_of_another_type_is_refused(tmp_path, fill_na):
    info = item_info().with_columns(level=pl.when(pl.col("item_id") != 3).then("item_id"))
    spec = items_spec({"level": {**LEVEL, "fill_na": fill_na}})
    (problem,) = refused_and_unchanged(spec, write_items(tmp_path, item_info=info))
    assert f"'level' holds Int64 and cannot take its fill_na, {fill_na!r}" in problem


def test_numbers_of_items(tmp_path):
    info = item_info().with_columns(price=pl.col("item_id") / 4)
    spec = items_spec({"price": {"dtype": "float", "type": "numeric", "source": "item"}})
    _, feature_map = opened(spec, write_items(tmp_path, item_info=info))
    assert feature_map.item_table["price"].tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25]
    assert feature_map.item_table["price"].dtype == torch.float32


def test_embedding_dim_stands_in_for_pretrain_dim(tmp_path):
    spec = items_spec({"vector": {"pretrain_dim": None, "embedding_dim": 2}})
    _, feature_map = opened(spec, write_items(tmp_path))
    assert feature_map.features["vector"]["pretrain_dim"] == 2
    assert feature_map.features["vector"]["embedding_dim"] == 2


def test_the_fingerprint_covers_the_table_and_the_features(tmp_path):
    places = write_items(tmp_path)
    assert find_build(items_spec(), places) is None
    first = open_dataset(items_spec(), places, log=quiet)
    assert find_build(items_spec(), places) == first.feature_map
    assert open_dataset(items_spec(), places, log=quiet).fingerprint == first.fingerprint
    changed = item_info().with_columns(pl.col("vector").list.eval(pl.element() * 2))
    write_items(tmp_path, item_info=changed)
    second = open_dataset(items_spec(), places, log=quiet)
    assert second.fingerprint != first.fingerprint and second.folder != first.folder
    assert load_feature_map(first.feature_map, items_spec(), EVERYTHING).item_table["vector"][1, 0] == 0.5
    assert load_feature_map(second.feature_map, items_spec(), EVERYTHING).item_table["vector"][1, 0] == 1.0


def test_the_run_folder_keeps_the_table(tmp_path):
    built = open_dataset(items_spec(), write_items(tmp_path), log=quiet)
    run = RunFolder(tmp_path / "runs", SimpleNamespace(expid="E", digest="0"), seed=1)
    run.path.mkdir(parents=True)
    run.link_features(built.folder)
    shutil.rmtree(built.folder)
    kept = load_feature_map(run.path / "features" / "feature_map.json", items_spec(), EVERYTHING)
    assert kept.item_table["vector"].tolist() == item_info()["vector"].to_list()


def choice(**keys):
    return SimpleNamespace(**{**vars(EVERYTHING), **keys})


def test_features_in_use(tmp_path):
    built = open_dataset(items_spec(), write_items(tmp_path), log=quiet)

    def using(*names):
        return load_feature_map(built.feature_map, items_spec(), choice(use_features=list(names)))

    feature_map = using("item_seq", "item_id", "vector")
    assert list(feature_map.item_table) == ["item_id", "vector"]
    assert not hasattr(using("level", "item_id"), "item_table")
    (batch,) = MemoryLoader(using("level", "item_id"), built.train, split="valid", batch_size=100)
    assert set(batch) == {"level", "item_id", "user_id", "label"}
    with pytest.raises(RequestError, match="'tags' is looked up in the item table: name item_seq, too"):
        using("item_id", "tags")
    specs = [{"name": "level", "source": "item"}]
    with pytest.raises(RequestError, match="'level' cannot get source item"):
        load_feature_map(built.feature_map, items_spec(), choice(feature_specs=specs))


def test_ml1m_next(test_data: Path, tmp_path):
    """The real stand-in: valid split only, which is the quickest."""
    spec = make_spec(
        "ml1m_next", {**config_of("ml1m_next"), "train_data": "valid.parquet", "test_data": None}
    )
    built = open_dataset(spec, Places(data_root=test_data, build_dir=tmp_path), log=quiet)
    assert built.warnings == []
    feature_map = load_feature_map(built.feature_map, spec, EVERYTHING)
    shapes = {name: tuple(values.shape) for name, values in feature_map.item_table.items()}
    assert shapes == {"item_id": (3884,), "item_tags": (3884, 5), "item_emb_d128": (3884, 128)}
    batch = next(iter(MemoryLoader(feature_map, built.valid, split="valid", batch_size=1000)))
    stored = pl.read_parquet(built.valid, n_rows=1000)
    assert batch["item_seq"].tolist() == stored["item_seq"].to_list()
    assert batch["item_id"].tolist() == stored["item_id"].to_list()
