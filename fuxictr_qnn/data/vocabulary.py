"""Vocabularies: which token has which id. The ids equal those of FuxiCTR 2.3.10.

id 0 is padding. Then come the tokens: text by falling count and rising text, numbers rising. After
them the id for unknown tokens (OOV). Merging (shared embeddings) puts new tokens before a moved OOV id,
pretrained embeddings put theirs after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PAD = 0


class Counts:
    """How often each value occurred, over many blocks of rows."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._merged_height = 0

    def add(self, values: pl.Series, counts: np.ndarray) -> None:
        """Count one more block: its distinct values, and how often each occurs. Missing ones do not count."""
        values = values.fill_nan(None) if values.dtype.is_float() else values
        part = pl.DataFrame({"value": values, "count": pl.Series(counts, dtype=pl.UInt32)})
        self._parts.append(part.filter((pl.col("count") > 0) & pl.col("value").is_not_null()))
        fresh = sum(part.height for part in self._parts) - self._merged_height
        if len(self._parts) > 1 and fresh > max(self._merged_height, 1_000_000):
            self._merge()

    def table(self) -> pl.DataFrame:
        """Columns value and count, each value once."""
        self._merge()
        return self._parts[0]

    def _merge(self) -> None:
        if len(self._parts) > 1:
            whole = pl.concat(self._parts, how="vertical_relaxed")  # of a meta column: splits may differ
            self._parts = [whole.group_by("value").agg(pl.col("count").sum())]
        self._merged_height = self._parts[0].height


class Vocabulary:
    """Tokens and their ids.

    Attributes:
        tokens: each token once, all text or all numbers.
        ids: the id of each token, int32, shape (len(tokens),).
        oov: the id of every other token.
        size: the largest id + 1.
    """

    def __init__(self, tokens: pl.Series, ids: np.ndarray, oov: int):
        self.tokens, self.ids, self.oov = tokens, ids.astype(np.int32), oov

    @classmethod
    def from_counts(cls, counts: pl.DataFrame, min_count: int, na_value: Any) -> Vocabulary:
        """Tokens that occur at least `min_count` times and are not `na_value`."""
        kept = counts.filter(pl.col("count") >= min_count)
        is_text = counts.schema["value"] == pl.String
        if isinstance(na_value, str) == is_text:
            kept = kept.filter(pl.col("value") != na_value)
        kept = kept.sort(["count", "value"], descending=[True, False]) if is_text else kept.sort("value")
        return cls(kept["value"].alias("token"), np.arange(1, kept.height + 1), kept.height + 1)

    @classmethod
    def of_size(cls, size: int) -> Vocabulary:
        """For data that is encoded already: ids 0 ... size - 1, the last one OOV."""
        numbers = np.arange(size - 1)
        return cls(pl.Series("token", numbers), numbers, size - 1)

    @property
    def size(self) -> int:
        return max(int(self.ids.max(initial=PAD)), self.oov) + 1

    def merge(self, other: Vocabulary) -> None:
        """Take in the tokens of a column that shares this one's embedding.

        Raises:
            ValueError: some cannot be of this one's type.
        """
        new = other.tokens.filter(~other.tokens.is_in(self.tokens.implode()))
        if len(new):
            self._append(new, first_id=self.oov)
            self.oov = self.size

    def expand(self, tokens: pl.Series) -> None:
        """Take in the keys of a pretrained embedding; the OOV id stays below them.

        Raises:
            ValueError: some cannot be of the tokens' type.
        """
        new = tokens.unique(maintain_order=True)
        self._append(new.filter(~new.is_in(self.tokens.implode())), first_id=self.size)

    def _append(self, tokens: pl.Series, first_id: int) -> None:
        made = tokens.cast(self.tokens.dtype, strict=False)
        changed = tokens.filter(~made.cast(tokens.dtype, strict=False).eq_missing(tokens))
        if len(changed):  # 1.5 would become 1, which has an id
            raise ValueError(f"{changed[0]!r} is no {self.tokens.dtype}")
        self.tokens = self.tokens.append(made)
        self.ids = np.concatenate([self.ids, np.arange(first_id, first_id + len(tokens), dtype=np.int32)])

    def lookup(self) -> Lookup:
        return Lookup(self)

    def items(self, at_once: int = 100_000) -> Iterator[dict[Any, int]]:
        """FuxiCTR's form, token -> id with __PAD__ and __OOV__, in the order of ids, in pieces."""
        order = np.argsort(self.ids, kind="stable")
        before_oov = int(np.searchsorted(self.ids[order], self.oov))
        yield {"__PAD__": PAD}
        for part, closing in ((order[:before_oov], {"__OOV__": self.oov}), (order[before_oov:], {})):
            for start in range(0, len(part), at_once):
                some = part[start : start + at_once]
                yield dict(zip(self.tokens.gather(some).to_list(), self.ids[some].tolist(), strict=True))
            yield closing


class Lookup:
    """From tokens to ids: sorted once, then a binary search for each block of rows.

    Numbers are searched themselves; text by its 64-bit hash, and then compared.
    """

    def __init__(self, vocabulary: Vocabulary):
        self._oov = vocabulary.oov
        tokens = vocabulary.tokens
        self._type, self._is_text = tokens.dtype, tokens.dtype == pl.String
        self._seed = 0
        keys = self._keys(tokens)
        while self._is_text and len(np.unique(keys)) < len(keys):  # two tokens of one hash: another hash
            self._seed += 1
            keys = self._keys(tokens)
        order = np.argsort(keys, kind="stable")
        self._sorted, self._ids = keys[order], vocabulary.ids[order]
        self._tokens = tokens.gather(order) if self._is_text else None

    def __call__(self, values: pl.Series) -> np.ndarray:
        """The ids of `values`, int32, shape (len(values),); unknown and missing ones are OOV."""
        if not len(self._sorted):
            return np.full(len(values), self._oov, np.int32)
        beyond = None
        # NumPy would compare them as floats, in which 2**53 and 2**53 + 1 are one number
        if values.dtype.is_integer() and (values.dtype != self._type or values.null_count()):
            values = values.cast(self._type, strict=False)
            beyond, values = values.is_null().to_numpy(), values.fill_null(0)
        keys = self._keys(values)
        at = np.searchsorted(self._sorted, keys)
        at[at == len(self._sorted)] = 0
        known = self._sorted[at] == keys
        if beyond is not None:
            known &= ~beyond
        if self._is_text:
            known &= (self._tokens.gather(at) == values).fill_null(False).to_numpy()
        return np.where(known, self._ids[at], np.int32(self._oov))

    def _keys(self, values: pl.Series) -> np.ndarray:
        return values.hash(self._seed).to_numpy() if self._is_text else values.to_numpy()


def split_tokens(texts: pl.Series, splitter: str) -> tuple[pl.Series, np.ndarray]:
    """The tokens of all texts one after another, and how many each text has."""
    lists = texts.str.split(splitter)
    tokens = pl.from_arrow(lists.to_arrow().flatten())
    return tokens, lists.list.len().to_numpy().astype(np.int64)


def pretrained_keys(file: Path, dtype: str) -> pl.Series:
    """The array `key` of a pretrained embedding (.npz, .h5 or .parquet) as str, int or float.

    Raises:
        ValueError, KeyError, OSError: not such a file; npz with pickled objects is not read.
    """
    if file.suffix == ".npz":
        keys = np.load(file)["key"]
    elif file.suffix == ".h5":
        import h5py  # rarely needed, and slow to import

        with h5py.File(file) as source:
            keys = source["key"][:]
    elif file.suffix == ".parquet":
        keys = pl.read_parquet(file, columns=["key"])["key"].to_numpy()
    else:
        raise ValueError("a pretrained embedding is .npz, .h5 or .parquet")
    return pl.Series("token", keys.astype({"str": str, "int": int, "float": float}[dtype]))


def write_vocabularies(file: Path, vocabularies: dict[str, Vocabulary]) -> None:
    """FuxiCTR's feature_vocab.json: column -> token -> id, one token a line."""
    with open(file, "w") as target:
        opening = "{"
        for name, vocabulary in vocabularies.items():
            target.write(f"{opening}\n{json.dumps(name)}: ")
            opening = "{"
            for piece in filter(None, vocabulary.items()):
                target.write(opening + json.dumps(piece, separators=(",\n", ": "))[1:-1])
                opening = ",\n"
            target.write("}")
            opening = ","
        target.write("}\n" if vocabularies else "{}\n")


def read_vocabularies(file: Path, kinds: dict[str, str]) -> dict[str, Vocabulary]:
    """What `write_vocabularies` wrote.

    Args:
        kinds: wanted column -> name of the polars type of its tokens ("String", "Int64" ...).

    Raises:
        ValueError, KeyError, OSError: not such a file, or without one of the columns.
    """
    stored = dict(json.loads(file.read_text(), object_pairs_hook=list))  # pairs: __OOV__ may be a token, too
    return {name: _restored(stored[name], kind) for name, kind in kinds.items()}


def _restored(pairs: list[tuple[str, int]], kind: str) -> Vocabulary:
    at = max((place for place, (token, _) in enumerate(pairs) if token == "__OOV__"), default=0)
    if not at or pairs[0] != ("__PAD__", PAD) or not all(type(number) is int for _, number in pairs):
        raise ValueError("a vocabulary is __PAD__: 0, tokens with whole numbers, and __OOV__")
    tokens = [pair for place, pair in enumerate(pairs) if place not in (0, at)]
    values = [_PARSERS[kind.rstrip("0123456789")](token) for token, _ in tokens]
    ids = np.array([number for _, number in tokens], np.int64)
    if len(np.unique(ids)) < len(ids) or (ids <= PAD).any():
        raise ValueError("two tokens share an id, or have that of the padding")
    return Vocabulary(pl.Series("token", values, getattr(pl, kind)), ids, pairs[at][1])


_PARSERS = {"String": str, "Boolean": "true".__eq__, "Int": int, "UInt": int, "Float": float}
