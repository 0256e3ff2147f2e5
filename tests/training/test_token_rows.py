"""Rows of two vocabularies that mean the same."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data.vocabulary import Vocabulary, write_vocabularies
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.token_rows import by_bucket, by_id, by_token, read_tokens


def vocabulary(tokens, min_count=1) -> Vocabulary:
    counts = pl.DataFrame(
        {"value": tokens, "count": [9] * len(tokens)}, schema_overrides={"count": pl.UInt32}
    )
    return Vocabulary.from_counts(counts, min_count, "")


def tokens_of(tmp_path, made: Vocabulary):
    file = tmp_path / "feature_vocab.json"
    write_vocabularies(file, {"user": made})
    return read_tokens(file)["user"]


def pairs(rows):
    return dict(zip(rows.new.tolist(), rows.old.tolist(), strict=True))


def test_by_token_padding_and_unknown(tmp_path):
    old, new = vocabulary(["a", "b", "c"]), vocabulary(["b", "c", "d", "e"])
    rows = by_token(tokens_of(tmp_path, new), tokens_of(tmp_path, old))
    assert pairs(rows) == {0: 0, 1: 2, 2: 3, 5: 4}
    assert rows.tokens == {"carried": 2, "new": 2, "gone": 1} and rows.size == old.size


def test_numbers_and_a_moved_unknown(tmp_path):
    old, new = vocabulary([7, 9]), vocabulary([9, 11])
    new.merge(vocabulary([8, 7]))
    rows = by_token(tokens_of(tmp_path, new), tokens_of(tmp_path, old))
    ids = dict(zip(new.tokens.to_list(), new.ids.tolist(), strict=True))
    assert pairs(rows) == {0: 0, ids[7]: 1, ids[9]: 2, new.oov: 3}


def test_keys_of_a_pretrained_table_come_after_the_unknown(tmp_path):
    old, new = vocabulary(["a"]), vocabulary(["b"])
    old.expand(pl.Series("token", ["b"]))
    rows = by_token(tokens_of(tmp_path, new), tokens_of(tmp_path, old))
    assert pairs(rows) == {0: 0, 1: 3, 2: 2} and rows.size == old.size == 4


def test_a_token_called_like_a_special_one(tmp_path):
    made = vocabulary(["__OOV__", "a"])
    rows = by_token(tokens_of(tmp_path, vocabulary(["a"])), tokens_of(tmp_path, made))
    assert pairs(rows) == {0: 0, 1: int(made.ids[made.tokens.to_list().index("a")]), 2: made.oov}


@pytest.mark.parametrize(
    "content",
    ["[]x", "[1]", '{"user": 3}', '{"user": "abc"}', json.dumps({"user": {"a": "b"}}), '{"user": {"a": -1}}'],
)
def test_what_is_no_vocabulary_is_refused(tmp_path, content):
    (tmp_path / "feature_vocab.json").write_text(content)
    with pytest.raises(RequestError, match="feature_vocab.json"):
        read_tokens(tmp_path / "feature_vocab.json")


def test_buckets():
    five, moved = {"boundaries": [1.0, 2, 3, 4]}, {"boundaries": [1.0, 2, 3, 5]}
    assert pairs(by_bucket(five, five)) == {k: k for k in range(7)} and by_bucket(five, five).remark is None
    assert pairs(by_bucket(five, moved)) == {k: k for k in range(7)}
    assert "moved" in by_bucket(five, moved).remark and by_bucket(five, moved).size == 7
    assert not len(by_bucket(five, {"boundaries": [1.0]}).new)
    assert not len(by_bucket({"num_buckets": 5}, five).new)
    assert len(by_bucket({"num_buckets": 5}, {"num_buckets": 5}).new) == 7
    assert "6 buckets here and had 5" in by_bucket({"num_buckets": 6}, {"num_buckets": 5}).remark
    assert not len(by_bucket(five, None).new)


def test_encoded_ids():
    rows = by_id(5, 3)
    np.testing.assert_array_equal(rows.new, [0, 1, 2])
    np.testing.assert_array_equal(rows.old, [0, 1, 2])
    assert "5 ids here and 3" in rows.remark and by_id(4, 4).remark is None
