"""Data that stays on disk: the same batches as from memory, a seeded shuffle, and bounded memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fuxictr_qnn.data.loaders import choice
from fuxictr_qnn.data.loaders.choice import (
    GIB,
    available_memory,
    choose_buffer,
    open_loaders,
    packed_bytes,
)
from fuxictr_qnn.data.loaders.memory import MemoryLoader
from fuxictr_qnn.data.loaders.storage import row_bytes
from fuxictr_qnn.data.loaders.streaming import BUFFER_BYTES, StreamingLoader
from fuxictr_qnn.errors import RequestError

ROWS, GROUP = 3_000, 100
FEATURES = {
    "row": {"type": "categorical", "vocab_size": 10**6},
    "tags": {"type": "sequence", "vocab_size": 9, "max_len": 2},
    "price": {"type": "numeric"},
}
ROW_BYTES = 4 * 5 + 8  # row, two tags, price, label; and its place in the window


def a_feature_map(features=FEATURES, group_id=None) -> SimpleNamespace:
    specs = {name: {**spec, "index": [0]} for name, spec in features.items()}
    return SimpleNamespace(features=specs, labels=["label"], group_id=group_id)


def table(rows: int = ROWS, first: int = 0) -> pa.Table:
    number = np.arange(first, first + rows)
    return pa.table(
        {
            "row": pa.array(number.astype(np.int32)),
            "tags": pa.FixedSizeListArray.from_arrays(np.stack([number % 9, number % 7], 1).reshape(-1), 2),
            "price": pa.array(number / 8),
            "label": pa.array((number >= 2 * ROWS / 3).astype(np.float32)),  # sorted
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """30 row groups."""
    file = tmp_path_factory.mktemp("data") / "train.parquet"
    pq.write_table(table(), file, row_group_size=GROUP)
    return file


@pytest.fixture(scope="module")
def train(data):
    def make(path=data, windows: float = 5, cls=StreamingLoader, **keys):
        """A window has a fifth of the rows."""
        keys = {"batch_size": 64, "shuffle": True, "seed": 3, **keys}
        if cls is StreamingLoader:
            keys["buffer_bytes"] = int(ROWS / windows * ROW_BYTES)
        return cls(a_feature_map(), path, split=keys.pop("split", "train"), **keys)

    return make


def order(batches) -> list[int]:
    return torch.cat([batch["row"] for batch in batches]).tolist()


def same(one, other) -> bool:
    """Whether two passes give the same batches, types and all."""
    one, other = list(one), list(other)
    assert len(one) == len(other)
    return all(
        list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)
        for a, b in zip(one, other, strict=True)
    )


def counted(loader, monkeypatch) -> list[int]:
    """The row groups that the loader reads from now on."""
    part = loader._pieces[0].part
    groups: list[int] = []
    blocks = part.blocks
    monkeypatch.setattr(part, "blocks", lambda pieces: groups.extend(pieces) or blocks(pieces))
    return groups


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100, 1000, 2999, 3000, 5000])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_unshuffled_equals_memory(train, batch_size, split):
    keys = {"batch_size": batch_size, "split": split, "shuffle": split != "train"}
    if batch_size == 1:
        keys["batch_size"] = 37
    streamed, held = train(**keys), train(cls=MemoryLoader, **keys)
    assert len(streamed) == len(held) and streamed.num_samples == held.num_samples
    assert same(streamed, held)


def test_weights_come_with_training_rows_only(data):
    features = {name: spec for name, spec in FEATURES.items() if name != "price"}
    for split in ("train", "valid"):
        keys = {"split": split, "batch_size": 100, "weight_col": "price"}
        streamed, held = (
            cls(a_feature_map(features), data, **keys) for cls in (StreamingLoader, MemoryLoader)
        )
        assert same(streamed, held)
        assert ("price" in next(iter(streamed))) is (split == "train")


def test_every_row_once_an_epoch_in_another_order_each(train):
    loader = train()
    epochs = [order(loader) for _ in range(3)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_rows_stay_together(train):
    for batch in train():
        number = batch["row"].long()
        assert torch.equal(batch["tags"], torch.stack([number % 9, number % 7], 1).int())
        assert torch.equal(batch["price"], number / 8)


def test_seed_and_epoch_decide_the_order(train):
    loader = train()
    first, second = order(loader), order(loader)
    torch.manual_seed(99)
    np.random.seed(99)
    again = train()
    again.set_epoch(1)
    assert order(again) == second
    again.set_epoch(0)
    assert order(again) == first
    assert order(train(seed=4)) != first


def test_resuming_gives_the_same_batches_and_reads_only_the_rest(train, monkeypatch):
    loader, resumed = train(), train()
    for each in (loader, resumed):
        each.set_epoch(5)
    whole = list(loader.batches())
    for start in (0, 1, 9, 10, 31, 46, 47):
        assert same(resumed.batches(start=start), whole[start:])
    groups = counted(resumed, monkeypatch)
    list(resumed.batches(start=46))  # in the last window
    assert len(groups) == 6 and len(set(groups)) == 6


def test_a_last_batch_of_one_row(data, train, tmp_path):
    pq.write_table(table(129), tmp_path / "odd.parquet", row_group_size=10)
    assert [len(batch["row"]) for batch in train(tmp_path / "odd.parquet")] == [64, 65]
    valid = train(tmp_path / "odd.parquet", split="valid")
    assert [len(batch["row"]) for batch in valid] == [64, 64, 1]


def test_several_files_and_formats(tmp_path, train):
    """Parts of a folder, uneven and one without rows; npz and h5 as well."""
    (tmp_path / "parts").mkdir()
    for at, (first, rows) in enumerate([(0, 700), (700, 0), (700, 1299), (1999, 1)]):
        pq.write_table(table(rows, first), tmp_path / "parts" / f"part_{at}.parquet", row_group_size=90)
    held = train(tmp_path / "parts", cls=MemoryLoader, shuffle=False)
    assert same(train(tmp_path / "parts", shuffle=False), held)
    assert sorted(order(train(tmp_path / "parts"))) == list(range(2000))
    columns = {name: np.array(values) for name, values in table(500).to_pydict().items()}
    np.savez(tmp_path / "few.npz", **columns)
    with h5py.File(tmp_path / "few.h5", "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
    for name in ("few.npz", "few.h5"):
        held = train(tmp_path / name, cls=MemoryLoader, shuffle=False)
        assert same(train(tmp_path / name, shuffle=False), held)
        assert sorted(order(train(tmp_path / name))) == list(range(500))


def test_at_most_two_windows_in_memory(tmp_path, train):
    """A file ten times as large as what is held of it; read-ahead and batches counted in."""
    rows = 200_000
    pq.write_table(table(rows), tmp_path / "large.parquet", row_group_size=2_500)
    window = rows // 20 * ROW_BYTES
    loader = StreamingLoader(
        a_feature_map(), tmp_path / "large.parquet", batch_size=1_000, shuffle=True, buffer_bytes=window
    )
    tracemalloc.start()
    seen = sum(len(batch["row"]) for batch in loader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == rows and loader.window_rows == rows // 20
    assert peak < 2.5 * window + 1_000_000


def test_it_reads_one_window_ahead_and_no_more(train, monkeypatch):
    loader = train()
    groups = counted(loader, monkeypatch)
    batches = iter(loader)
    next(batches)
    batches.close()  # waits for the reading that is under way
    assert len(groups) <= 2 * 6
    assert sorted(order(loader)) == list(range(ROWS))  # and another pass works


def test_how_well_it_shuffles(train):
    """Sorted data: no trace of the order in the file within a window, nearly none across the epoch."""
    loader = train()
    epochs = [np.array(order(loader)) for _ in range(10)]
    correlation = [np.corrcoef(np.arange(ROWS), epoch)[0, 1] for epoch in epochs]
    # Five windows of six groups: the correlation of 30 group positions that windows keep only in part.
    assert abs(np.mean(correlation)) < 3 * 0.19 / np.sqrt(10) and np.std(correlation) < 0.3
    window = 6 * GROUP
    within = [
        np.corrcoef(np.arange(window), epoch[at : at + window])[0, 1]
        for epoch in epochs
        for at in range(0, ROWS, window)
    ]
    assert abs(np.mean(within)) < 3 / np.sqrt(window * len(within))
    assert np.std(within) < 1.3 / np.sqrt(window)
    neighbours = np.concatenate([np.abs(np.diff(epoch)) == 1 for epoch in epochs])
    assert neighbours.mean() < 3 * 2 / window  # as many as chance puts beside each other in a window
    labels = np.stack([epoch.reshape(-1, window) >= 2 * ROWS / 3 for epoch in epochs]).mean(-1)
    promised = np.sqrt((1 / 3) * (2 / 3) * (1 - 6 / 30) / 6)
    assert labels.std() == pytest.approx(promised, rel=0.25)


def test_a_row_group_larger_than_the_buffer(train):
    loader = train(windows=1000)
    assert sorted(order(loader)) == list(range(ROWS))
    (warning,) = loader.warnings
    assert f"holds {GROUP} rows, more than the {loader.window_rows} that memory_budget allows" in warning
    assert train().warnings == train(windows=1000, shuffle=False).warnings == []


def test_nothing_at_all(tmp_path, train):
    pq.write_table(table(0), tmp_path / "none.parquet")
    loader = train(tmp_path / "none.parquet")
    assert (len(loader), list(loader)) == (0, [])


class TestDamage:
    def test_a_file_that_breaks_off_while_it_is_read(self, tmp_path, train):
        file = tmp_path / "train.parquet"
        pq.write_table(table(), file, row_group_size=GROUP)
        loader = train(file, shuffle=False)
        content = bytearray(file.read_bytes())
        content[2000 : len(content) // 2] = b"\xff" * (len(content) // 2 - 2000)
        file.write_bytes(content)
        with pytest.raises(RequestError, match=r"train\.parquet' is damaged"):
            list(loader)

    def test_ids_outside_of_the_vocabulary(self, data):
        features = FEATURES | {"row": {"type": "categorical", "vocab_size": ROWS - 1}}
        loader = StreamingLoader(a_feature_map(features), data, batch_size=64)
        with pytest.raises(RequestError, match=f"holds the id {ROWS - 1}, but its vocab_size is {ROWS - 1}"):
            list(loader)

    def test_a_missing_column(self, data):
        with pytest.raises(RequestError, match="has no column 'prize'. Did you mean 'price'?"):
            StreamingLoader(a_feature_map({"prize": {"type": "numeric"}}), data)


class TestChoice:
    def test_data_over_the_budget_is_streamed(self, data):
        both = {"train": data, "valid": data}
        packed = packed_bytes(a_feature_map(), both)
        assert packed == 2 * ROWS * (ROW_BYTES - 8)
        for budget, chosen in ((packed / GIB, None), ((packed - 1) / GIB, (packed - 1) // 2)):
            assert choose_buffer(a_feature_map(), both, "auto", budget) == chosen
        assert choose_buffer(a_feature_map(), both, True, None) == BUFFER_BYTES
        assert choose_buffer(a_feature_map(), both, True, 1e-12) == 1
        assert choose_buffer(a_feature_map(), both, False, 1e-9) is None

    @pytest.mark.parametrize(
        ("available", "chosen"), [(None, None), (2 * ROWS * 20, None), (10, BUFFER_BYTES)]
    )
    def test_without_a_budget_half_of_the_memory_decides(self, data, monkeypatch, available, chosen):
        monkeypatch.setattr(choice, "available_memory", lambda: available)
        assert choose_buffer(a_feature_map(), {"train": data}, "auto", None) == chosen

    @pytest.mark.parametrize("buffer_bytes", [None, 600 * ROW_BYTES])
    def test_a_loader_for_each_split(self, data, buffer_bytes):
        """Weights in training batches only; another batch size where nothing is trained; one line."""
        feature_map = a_feature_map({name: spec for name, spec in FEATURES.items() if name != "price"})
        feature_map.weight_col = "price"
        splits, said = {"train": data, "test": data}, []
        keys = {"batch_size": 64, "eval_batch_size": 500, "shuffle": True, "seed": 3, "log": said.append}
        loaders = open_loaders(feature_map, splits, buffer_bytes=buffer_bytes, **keys)
        assert {split: (loader.batch_size, loader.shuffle) for split, loader in loaders.items()} == {
            "train": (64, True),
            "test": (500, False),
        }
        assert [("price" in next(iter(loader))) for loader in loaders.values()] == [True, False]
        streamed = ["streaming from disk, up to 600 rows at a time"]
        assert said == ([] if buffer_bytes is None else streamed)

    def test_memory_of_this_machine(self, monkeypatch, tmp_path):
        free = available_memory()
        assert free is None or free > 1 << 20
        for name, text in (
            ("memory.max", "1000"),
            ("memory.current", "900"),
            ("memory.stat", "anon 1\ninactive_file 50"),
        ):
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(choice, "_CGROUP", tmp_path)
        assert free is None or available_memory() == 150
        (tmp_path / "memory.max").write_text("max")
        assert free is None or available_memory() > 1 << 20


def test_row_bytes():
    from fuxictr_qnn.data.loaders.storage import layout

    assert row_bytes(layout(a_feature_map(group_id="user"))) == ROW_BYTES - 8 + 8
