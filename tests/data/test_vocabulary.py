"""Properties that hold for all data: ids and tokens are two names of one thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.data.vocabulary import Counts, Vocabulary, split_tokens, write_vocabularies

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4).filter(
    lambda word: word[:2] != "__"
)
VALUES = st.one_of(
    st.lists(WORDS, min_size=1, max_size=60), st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=60)
)


def vocabulary_of(values: list, min_count: int = 1, na_value: object = "") -> Vocabulary:
    counts = Counts()
    half = len(values) // 2
    dtype = pl.String if isinstance(values[0], str) else pl.Int64
    for part in (values[:half], values[half:]):
        distinct = sorted(set(part))
        counts.add(pl.Series(distinct, dtype=dtype), np.array([part.count(value) for value in distinct]))
    return Vocabulary.from_counts(counts.table(), min_count, na_value)


@settings(deadline=None, max_examples=60)
@given(values=VALUES, unseen=VALUES, min_count=st.integers(1, 3))
def test_encoding_and_decoding_return_every_kept_value(values, unseen, min_count):
    vocabulary = vocabulary_of(values, min_count)
    decode = {number: token for piece in vocabulary.items() for token, number in piece.items()}
    assert sorted(decode) == list(range(vocabulary.size))
    kept = {value for value in values if values.count(value) >= min_count and value != ""}
    same_kind = [value for value in unseen if isinstance(value, type(values[0]))]
    probe = values + same_kind
    ids = vocabulary.lookup()(pl.Series(probe, dtype=vocabulary.tokens.dtype))
    for value, number in zip(probe, ids.tolist(), strict=True):
        assert decode[number] == (value if value in kept else "__OOV__")


@settings(deadline=None, max_examples=60)
@given(values=VALUES)
def test_order_is_that_of_fuxictr(values):
    vocabulary = vocabulary_of(values)
    if isinstance(values[0], str):
        expected = sorted(set(values) - {""}, key=lambda word: (-values.count(word), word))
    else:
        expected = sorted(set(values))
    assert vocabulary.tokens.to_list() == expected


@settings(deadline=None, max_examples=40)
@given(first=st.lists(WORDS, min_size=1), second=st.lists(WORDS, min_size=1), third=st.lists(WORDS))
def test_merging_and_expanding_keep_old_ids(first, second, third):
    vocabulary = vocabulary_of(first)
    before = {
        word: number for piece in vocabulary.items() for word, number in piece.items() if word != "__OOV__"
    }
    vocabulary.merge(vocabulary_of(second))
    vocabulary.expand(pl.Series(third, dtype=pl.String))
    after = {word: number for piece in vocabulary.items() for word, number in piece.items()}
    assert before.items() <= after.items()
    assert sorted(after.values()) == list(range(vocabulary.size))
    assert set(third) <= set(after) and after["__OOV__"] == vocabulary.oov


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(st.one_of(st.none(), st.text("ab^|", max_size=6)), min_size=1))
def test_tokens_of_sequences(texts):
    tokens, lengths = split_tokens(pl.Series(texts, dtype=pl.String).fill_null(""), "^")
    expected = [(text or "").split("^") for text in texts]
    assert tokens.to_list() == [token for cell in expected for token in cell]
    assert lengths.tolist() == [len(cell) for cell in expected]


def test_vocabulary_file(tmp_path: Path):
    file = tmp_path / "feature_vocab.json"
    words = Vocabulary(pl.Series(["b", 'a"\n']), np.array([1, 3]), oov=2)
    numbers = Vocabulary(pl.Series([1.0, 2.5]), np.array([1, 2]), oov=3)
    write_vocabularies(file, {"word": words, "number": numbers})
    assert json.loads(file.read_text()) == {
        "word": {"__PAD__": 0, "b": 1, "__OOV__": 2, 'a"\n': 3},
        "number": {"__PAD__": 0, "1.0": 1, "2.5": 2, "__OOV__": 3},
    }
    write_vocabularies(file, {})
    assert json.loads(file.read_text()) == {}


def test_counting_in_many_blocks_needs_few_tables():
    counts = Counts()
    for _ in range(30):
        counts.add(pl.Series(np.arange(100_000)), np.ones(100_000))
    assert len(counts._parts) < 25
    assert counts.table()["count"].unique().to_list() == [30]


def test_large_numbers_beside_a_missing_one_are_told_apart():
    """As floating-point numbers 2**53 and 2**53 + 1 would be one."""
    tokens = pl.Series("value", [2**53, 2**53 + 2])
    vocabulary = Vocabulary.from_counts(pl.DataFrame({"value": tokens, "count": [1, 1]}), 1, "")
    values = pl.Series([2**53 + 1, None, 2**53 + 2, 2**53])
    assert vocabulary.lookup()(values).tolist() == [3, 3, 2, 1]


def test_text_tokens_with_one_hash_are_told_apart(monkeypatch):
    """Two tokens of one hash: another hash is taken, and an equal hash alone is no match."""
    real = pl.Series.hash
    monkeypatch.setattr(
        pl.Series, "hash", lambda self, seed=0: real(self, seed) % (3 if seed == 0 else 2**60)
    )
    vocabulary = vocabulary_of([*"abcdefgh"])
    assert vocabulary.lookup()(pl.Series([*"hgfedcbaz"])).tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 9]
    monkeypatch.setattr(pl.Series, "hash", lambda self, seed=0: pl.Series([7] * len(self), dtype=pl.UInt64))
    assert vocabulary_of(["a"]).lookup()(pl.Series(["a", "b"])).tolist() == [1, 2]
