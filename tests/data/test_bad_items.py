"""Item tables and histories: everything that is refused, in one message and before anything is written."""

from __future__ import annotations

import polars as pl
import pytest
from data_support import item_info, item_rows, items_spec, refused_and_unchanged, write_items

# Bad tables: what is changed in item_info, and what the message says.
IDS = pl.col("item_id")
BAD_TABLES = {
    "doubled ids": (lambda t: pl.concat([t, t[2:4]]), ["2 item ids in more than one row: 2, 3"]),
    "missing ids": (
        lambda t: t.filter(~IDS.is_in([2, 4])),
        ["lacks 2 of the item ids from 1 to 5", ": 2, 4"],
    ),
    "negative ids": (lambda t: t.with_columns(IDS - 1), ["negative item ids: -1"]),
    "null ids": (lambda t: t.with_columns(pl.when(IDS < 5).then(IDS)), ["1 rows without 'item_id'"]),
    "text ids": (lambda t: t.with_columns(IDS.cast(pl.String)), ["String", "item ids are integers"]),
    "no ids": (
        lambda t: t.rename({"item_id": "item_ids"}),
        ["no column 'item_id'", "Did you mean 'item_ids'?"],
    ),
    "no rows": (lambda t: t[:0], ["has no rows"]),
    "a used padding": (
        lambda t: t.with_columns(pl.col("vector").reverse()),
        ["gives item_id 0 a value of vector", "from 1"],
    ),
    "no such column": (
        lambda t: t.rename({"tags": "tag"}),
        ["column 'tags'", "lacks it. Did you mean 'tag'?"],
    ),
    "a tag beyond vocab_size": (
        lambda t: t.with_columns(pl.col("tags").list.eval(pl.element() * 2)),
        ["'tags' holds ids outside its vocab_size of 9 (0 to 8): 10, 16"],
    ),
    "another embedding width": (
        lambda t: t.with_columns(pl.col("vector").list.head(1)),
        ["'vector' holds lists of 1 numbers, but pretrain_dim (or embedding_dim) says 2"],
    ),
    "NaN in an embedding": (
        lambda t: t.with_columns(pl.col("vector").list.eval(pl.element() / (pl.element() < 2))),
        ["'vector' holds", "not finite"],
    ),
    "an embedding of one number": (lambda t: t.with_columns(vector=1.0 * IDS), ["'vector' holds Float64"]),
    "text tags": (
        lambda t: t.with_columns(tags=pl.when(IDS > 0).then(pl.lit("a^b"))),
        ["'tags' holds String"],
    ),
    "null in tags": (
        lambda t: t.with_columns(pl.when(IDS != 3).then("tags")),
        ["'tags' has no value in 1 rows", "fill_na"],
    ),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_bad_tables(tmp_path, kind):
    change, words = BAD_TABLES[kind]
    (problem,) = refused_and_unchanged(items_spec(), write_items(tmp_path, item_info=change(item_info())))
    assert "item_info" in problem and "item_info.parquet'" in problem
    assert all(word in problem for word in words), problem


def test_ids_beyond_vocab_size_in_the_table(tmp_path):
    spec = items_spec({"item_id": {"vocab_size": 5}})
    problem, *_of_rows = refused_and_unchanged(spec, write_items(tmp_path))
    assert "column 'item_id' holds ids outside its vocab_size of 5 (0 to 4): 5" in problem


SEQ = pl.col("item_seq")
BAD_ROWS = {
    "an unknown item": (
        lambda r: r.with_columns(IDS + 1),
        ["'item_id' holds 1 ids outside the item table, whose ids are 1 to 5: 6"],
    ),
    "the padding as an item": (lambda r: r.with_columns(IDS - 1), ["'item_id' holds 2 ids outside", ": 0"]),
    "an unknown item in a history": (
        lambda r: r.with_columns(SEQ.list.eval(pl.element() * 7)),
        ["'item_seq' holds", "outside the item table"],
    ),
    "an id beyond vocab_size": (
        lambda r: r.with_columns(pl.col("level") * 2),
        ["'level' holds 2 ids outside its vocab_size, 3: 4"],
    ),
    "ragged histories": (
        lambda r: r.with_columns(SEQ.list.tail(pl.col("user_id") % 5)),
        ["'item_seq' is ragged: its lists are 0 to 4 long; pad them with 0 on the left to one length"],
    ),
    "padding on the right": (
        lambda r: r.with_columns(SEQ.list.reverse()),
        ["'item_seq' has 4 histories with 0 after an item"],
    ),
    "padding between items": (
        lambda r: r.with_columns(pl.lit([3, 0, 2, 1]).alias("item_seq")),
        ["histories with 0 after an item"],
    ),
    "no lists": (lambda r: r.with_columns(SEQ.list.first()), ["'item_seq' holds int64 instead of lists"]),
    "text items": (lambda r: r.with_columns(IDS.cast(pl.String)), ["'item_id' holds", "string"]),
    "null items": (
        lambda r: r.with_columns(pl.when(IDS > 1).then(IDS)),
        ["'item_id' has no value in 2 places"],
    ),
    "null histories": (
        lambda r: r.with_columns(pl.when(IDS > 1).then(SEQ)),
        ["'item_seq' has no value in 2 places"],
    ),
    "no history": (
        lambda r: r.rename({"item_seq": "item_sequ"}),
        ["no column 'item_seq'. Did you mean 'item_sequ'"],
    ),
}


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows(tmp_path, kind, split):
    change, words = BAD_ROWS[kind]
    (problem,) = refused_and_unchanged(items_spec(), write_items(tmp_path, **{split: change(item_rows())}))
    assert problem.startswith(f"{split}_data: '") and f"{split}.parquet'" in problem
    assert all(word in problem for word in words), problem


def test_all_problems_come_at_once(tmp_path):
    frames = {
        "train": item_rows().with_columns(IDS + 1),
        "valid": item_rows().with_columns(pl.col("level") + 1),
    }
    places = write_items(
        tmp_path, item_info=item_info().with_columns(tags=pl.when(IDS > 0).then(pl.lit("a"))), **frames
    )
    problems = refused_and_unchanged(items_spec(), places)
    assert [problem.split(":")[0] for problem in problems] == ["item_info", "train_data", "valid_data"]


BAD_CONFIGS = {
    "item_info without encoded data": ({"rebuild_dataset": True}, {}, "set rebuild_dataset: false"),
    "another format": ({"data_format": "npz"}, {}, "data_format: parquet, not npz"),
    "a history without max_len": ({}, {"item_seq": {"max_len": 0}}, "'item_seq', type meta, with max_len"),
    "items without source": ({}, {"item_id": {"source": ""}}, "'item_id', type categorical, source: item"),
    "an embedding without its width": (
        {},
        {"vector": {"pretrain_dim": None}},
        "type embedding needs pretrain_dim",
    ),
    "meta of source item": ({}, {"name": {"type": "meta", "source": "item"}}, "has no use"),
    "item_features alone": ({"item_info": None, "item_features": "x"}, {}, "set item_info, too"),
    "max_len of meta alone": ({"item_info": None}, {}, "makes a history of items: set item_info, too"),
    "a table that is not there": ({"item_info": "far.parquet"}, {}, "item_info: 'far.parquet' is at none of"),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_bad_configs(tmp_path, kind):
    changes, columns, words = BAD_CONFIGS[kind]
    problems = refused_and_unchanged(items_spec(columns, **changes), write_items(tmp_path))
    assert any(words in problem for problem in problems), problems


def test_source_item_without_a_table(tmp_path):
    spec = items_spec({"item_seq": {"max_len": 0}}, item_info=None)
    problems = refused_and_unchanged(spec, write_items(tmp_path))
    assert len(problems) == 4  # tags and vector in train and valid
    assert all("of source item: set item_info" in problem for problem in problems)


def test_a_damaged_table(tmp_path):
    places = write_items(tmp_path)
    file = tmp_path / "shop" / "item_info.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    (problem,) = refused_and_unchanged(items_spec(), places)
    assert "is no parquet file or is cut off" in problem
