"""Batches: order, epochs, resuming, what of the file is read, other formats."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from data_support import EVERYTHING, make_spec, quiet, small_spec, write_small

from fuxictr_qnn.data import MemoryLoader, Places, build_dataset, load_feature_map, open_dataset
from fuxictr_qnn.errors import RequestError

COLUMNS = {"user", "item", "price", "label"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_dataset(small_spec(), write_small(tmp_path_factory.mktemp("data")), log=quiet)


@pytest.fixture(scope="module")
def feature_map(built):
    return load_feature_map(built.feature_map, small_spec(), EVERYTHING)


@pytest.fixture
def train(built, feature_map):
    def make(**keys) -> MemoryLoader:
        settings = {"batch_size": 64, "shuffle": True, "seed": 3, **keys}
        return MemoryLoader(feature_map, built.train, split="train", **settings)

    return make


def rows(batches) -> torch.Tensor:
    """The prices, one after another: nearly all differ, so they tell the rows' order."""
    return torch.cat([batch["price"] for batch in batches])


def test_shapes_types_and_counts(train):
    loader = train(shuffle=False)
    batches = list(loader)
    assert (len(loader), loader.num_batches, loader.num_samples, loader.num_blocks) == (4, 4, 200, 1)
    assert [len(batch["user"]) for batch in batches] == [64, 64, 64, 8]
    kinds = {name: values.dtype for name, values in batches[0].items()}
    assert kinds == {"user": torch.int32, "item": torch.int32, "price": torch.float32, "label": torch.float32}


def test_unshuffled_and_evaluation_batches_keep_the_files_order(built, feature_map, train):
    stored = pl.read_parquet(built.train)["price"].to_torch()
    assert torch.equal(rows(train(shuffle=False)), stored)
    for split in ("valid", "test"):
        loader = MemoryLoader(feature_map, built.train, split=split, batch_size=64, shuffle=True)
        assert torch.equal(rows(loader), stored) and torch.equal(rows(loader), stored)


def test_order_is_a_function_of_seed_and_epoch_only(train):
    loader = train()
    epochs = [rows(loader) for _ in range(3)]
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    assert all(torch.equal(epoch.sort().values, epochs[0].sort().values) for epoch in epochs)
    again = train()
    torch.manual_seed(99)  # the global generator has no say
    again.set_epoch(2)
    assert torch.equal(rows(again), epochs[2])
    again.set_epoch(0)
    assert torch.equal(rows(again), epochs[0]) and torch.equal(rows(again), epochs[1])
    assert not torch.equal(rows(train(seed=4)), epochs[0])


def test_rows_stay_together(train, built):
    stored = {tuple(row) for row in pl.read_parquet(built.train).select(sorted(COLUMNS)).rows()}
    for batch in train():
        assert {
            tuple(row) for row in zip(*(batch[name].tolist() for name in sorted(COLUMNS)), strict=True)
        } <= stored


def test_resuming_in_the_middle_of_an_epoch(train):
    loader, resumed = train(), train()
    loader.set_epoch(5)
    resumed.set_epoch(5)
    whole = list(loader)
    for start in range(len(whole) + 1):
        rest = list(resumed.batches(start=start))
        assert len(rest) == len(whole) - start
        assert all(torch.equal(a["price"], b["price"]) for a, b in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(199, [200]), (67, [67, 67, 66]), (1, [1] * 198 + [2]), (500, [200])]
)
def test_a_last_training_batch_of_one_row_joins_the_one_before(train, batch_size, sizes):
    loader = train(batch_size=batch_size)
    assert [len(batch["label"]) for batch in loader] == sizes
    assert len(loader) == len(sizes)


def test_evaluation_keeps_a_last_batch_of_one_row(built, feature_map):
    loader = MemoryLoader(feature_map, built.train, split="valid", batch_size=199)
    assert [len(batch["label"]) for batch in loader] == [199, 1]


def test_only_used_features_are_read(built):
    choice = SimpleNamespace(embedding_dim=4, use_features=["price", "user"], feature_specs=None)
    feature_map = load_feature_map(built.feature_map, small_spec(), choice)
    assert feature_map.num_fields == 2
    (batch,) = MemoryLoader(feature_map, built.test, split="test", batch_size=100)
    assert set(batch) == {"price", "user", "label"}
    assert torch.equal(batch["user"], pl.read_parquet(built.test)["user"].to_torch())


def test_feature_specs_and_group_id(tmp_path):
    columns = [{"name": "user", "type": "meta"}, {"name": "item", "dtype": "int"}]
    spec = small_spec(feature_cols=columns, group_id="user")
    built = build_dataset(spec, write_small(tmp_path), log=quiet)
    choice = SimpleNamespace(
        embedding_dim=4, use_features=["item"], feature_specs=[{"name": "item", "embedding_dim": 7}]
    )
    feature_map = load_feature_map(built.feature_map, spec, choice)
    assert (feature_map.group_id, feature_map.features["item"]["embedding_dim"]) == ("user", 7)
    (batch,) = MemoryLoader(feature_map, built.valid, split="valid", batch_size=100)
    assert batch["user"].dtype == torch.int64 and len(batch["user"]) == 50


def test_works_behind_fuxictrs_hook(built, feature_map):
    from fuxictr.pytorch.dataloaders import RankDataLoader

    paths = {f"{split}_data": str(getattr(built, split)) for split in ("train", "valid", "test")}
    train, valid, test = RankDataLoader(
        feature_map, **paths, batch_size=64, shuffle=True, data_loader=MemoryLoader, seed=3, num_workers=2
    )
    assert train.shuffle and not valid.shuffle
    assert (train.num_samples, len(train), valid.num_samples, test.num_samples) == (200, 4, 50, 50)


def encoded_folder(tmp_path, built, kind: str) -> Places:
    """A folder as FuxiCTR leaves it: feature_map.json and data of one kind."""
    folder = tmp_path / "old" / "small"
    folder.mkdir(parents=True)
    (folder / "feature_map.json").write_text(built.feature_map.read_text())
    for split in ("train", "valid", "test"):
        frame = pl.read_parquet(getattr(built, split))
        if kind == "npz":
            np.savez(folder / f"{split}.npz", **{name: frame[name].to_numpy() for name in frame.columns})
        elif kind == "parquet":
            frame.write_parquet(folder / f"{split}.parquet")
        else:
            (folder / split).mkdir()
            for part in range(2):
                frame[part * 40 :][: 40 if part == 0 else None].write_parquet(
                    folder / split / f"part-{part}.parquet"
                )
    return Places(data_root=tmp_path / "nothing", config_dir=tmp_path / "configs")


@pytest.mark.parametrize(
    ("kind", "suffix"), [("npz", ".npz"), ("npz", ""), ("parquet", ".parquet"), ("parts", "")]
)
def test_encoded_data(tmp_path, built, kind, suffix):
    places = encoded_folder(tmp_path, built, kind)
    spec = make_spec(
        "small",
        {
            "data_format": "npz" if kind == "npz" else "parquet",
            "data_root": "old",
            **{f"{split}_data": f"old/small/{split}{suffix}" for split in ("train", "valid", "test")},
            "label_col": {"name": "label"},
        },
    )
    opened = open_dataset(spec, places, log=quiet)
    feature_map = load_feature_map(opened.feature_map, spec, EVERYTHING)
    loader = MemoryLoader(feature_map, opened.train, split="train", batch_size=64)
    assert loader.num_blocks == (2 if kind == "parts" else 1)
    expected = MemoryLoader(feature_map, built.train, split="train", batch_size=64)
    for ours, theirs in zip(loader, expected, strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in COLUMNS)
    assert open_dataset(spec, places, log=quiet).fingerprint == opened.fingerprint


@pytest.mark.parametrize("change", [{"valid_size": 0.1}, {"split_type": "random"}, {"weight_col": "price"}])
def test_encoded_data_is_neither_divided_nor_weighted(tmp_path, built, change):
    """Also where feature_map.json says what the columns are, and the config could say nothing else."""
    places = encoded_folder(tmp_path, built, "parquet")
    config = {
        "data_format": "parquet",
        "data_root": "old",
        "label_col": [],
        "train_data": "old/small/train.parquet",
    }
    with pytest.raises(RequestError) as caught:
        open_dataset(make_spec("small", config | change), places, log=quiet)
    assert all(problem.startswith("small: ") for problem in caught.value.problems)
    assert next(iter(change)) in str(caught.value)


def test_encoded_data_described_by_vocab_sizes(tmp_path, built):
    places = encoded_folder(tmp_path, built, "parquet")
    described = {"name": "user", "vocab_size": 12, "share_embedding": "item"}
    columns = [{"name": "item", "vocab_size": 50}, described, {"name": "price", "type": "numeric"}]
    paths = {f"{split}_data": f"old/small/{split}.parquet" for split in ("train", "valid")}
    config = {"data_format": "parquet", "rebuild_dataset": False, "feature_cols": columns, **paths}
    spec = make_spec("small", {**config, "label_col": {"name": "label"}})
    opened = open_dataset(spec, places, log=quiet)
    assert opened.test is None
    feature_map = load_feature_map(opened.feature_map, spec, EVERYTHING)
    assert feature_map.features["item"] == {
        "source": "", "type": "categorical", "padding_idx": 0, "vocab_size": 50
    }  # fmt: skip
    assert feature_map.features["user"]["vocab_size"] == 50 and feature_map.total_features == 51
    assert len(list(MemoryLoader(feature_map, opened.valid, split="valid", batch_size=20))) == 3


def test_a_copy_of_encoded_data_is_the_same_data(tmp_path, built):
    """Its times of change do not count, or nobody could go on with a run on another machine."""
    places = encoded_folder(tmp_path, built, "parquet")
    columns = [{"name": "item", "vocab_size": 50}]
    paths = {f"{split}_data": f"old/small/{split}.parquet" for split in ("train", "valid")}
    config = {"data_format": "parquet", "rebuild_dataset": False, "feature_cols": columns, **paths}
    spec = make_spec("small", {**config, "label_col": {"name": "label"}})
    first = open_dataset(spec, places, log=quiet)
    folder = tmp_path / "old" / "small"
    os.utime(folder / "train.parquet", (1, 1))
    assert open_dataset(spec, places, log=quiet).fingerprint == first.fingerprint
    shutil.copyfile(
        tmp_path / "old" / "small" / "valid.parquet", tmp_path / "old" / "small" / "train.parquet"
    )
    assert open_dataset(spec, places, log=quiet).fingerprint != first.fingerprint


def test_lists_of_different_length_are_refused(tmp_path, built):
    """Their values stand one after another, so that the right total would not show that rows had shifted."""
    places = encoded_folder(tmp_path, built, "parquet")
    columns = [{"name": "tags", "type": "sequence", "vocab_size": 10, "max_len": 3}]
    for split in ("train", "valid"):
        rows = pl.DataFrame({"tags": [[1, 2], [3, 4, 5, 6], [7, 8, 9]], "label": [0, 1, 0]})
        rows.write_parquet(tmp_path / "old" / "small" / f"{split}.parquet")
    paths = {f"{split}_data": f"old/small/{split}.parquet" for split in ("train", "valid")}
    config = {"data_format": "parquet", "rebuild_dataset": False, "feature_cols": columns, **paths}
    spec = make_spec("small", {**config, "label_col": {"name": "label"}})
    opened = open_dataset(spec, places, log=quiet)
    feature_map = load_feature_map(opened.feature_map, spec, EVERYTHING)
    with pytest.raises(RequestError, match="column 'tags' has rows of different length"):
        MemoryLoader(feature_map, opened.train, split="train", batch_size=3)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("item", ["i1", "i2", "i3"], "'item' holds text, or cells without a number"),
        ("user", ["u1", "u2", "u3"], "'user' holds text, or cells without a number"),
        ("user", [1, None, 3], "'user' has cells that are missing or no whole numbers"),
        ("label", ["0", "1", "x"], "'label' holds text, or cells without a number"),
        ("label", [0, None, 1], "'label' has cells that are missing or no finite numbers"),
        ("price", [0.5, float("inf"), 1.0], "'price' has cells that are missing or no finite numbers"),
    ],
)
def test_encoded_data_that_is_not_encoded(tmp_path, name, values, message):
    columns = {"user": [1, 2, 3], "item": [1, 2, 3], "price": [0.5, 1.5, 2.5], "label": [0, 1, 0]}
    (tmp_path / "small").mkdir()
    file = tmp_path / "small" / "train.parquet"
    pl.DataFrame({**columns, name: values}, strict=False).write_parquet(file)
    config = {
        "data_format": "parquet",
        "rebuild_dataset": False,
        "train_data": "train.parquet",
        "group_id": "user",
        "feature_cols": [
            {"name": "user", "type": "meta"},
            {"name": "item", "vocab_size": 10},
            {"name": "price", "type": "numeric"},
        ],
        "label_col": {"name": "label"},
    }
    spec = make_spec("small", config)
    opened = open_dataset(spec, Places(data_root=tmp_path), log=quiet)
    feature_map = load_feature_map(opened.feature_map, spec, EVERYTHING)
    with pytest.raises(RequestError) as caught:
        MemoryLoader(feature_map, opened.train, split="train", batch_size=3)
    assert str(caught.value).startswith(f"'{file}': column ") and message in str(caught.value)
