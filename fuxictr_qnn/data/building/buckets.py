"""Buckets instead of a vocabulary: ids from a hash of the text, or from quantiles of the numbers.

Ids of both: 0 padding, 1 ... n the buckets, n + 1 a missing value. The vocabulary size is n + 2.
FuxiCTR 2.3.10 fails on both, so this layout is ours; its models train on it as on any other ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from fuxictr_qnn.data.vocabulary import PAD

FNV_OFFSET, FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))  # MurmurHash3's fmix64
MIX_SHIFT = np.uint64(33)


@dataclass(frozen=True)
class HashBuckets:
    """id = 1 + hash(text) mod n, where hash is FNV-1a of the UTF-8 bytes, 64 bits, mixed by fmix64.

    Whole numbers are hashed as their decimal digits, so 17 and "17" share a bucket. Nothing is fitted: the
    id of a text is the same in every dataset, on every machine and with every version.
    """

    num_buckets: int

    @property
    def size(self) -> int:
        return self.num_buckets + 2

    def __call__(self, values: pl.Series) -> np.ndarray:
        """Ids, int32, shape (len(values),)."""
        texts = values.cast(pl.String).fill_null("")
        ids = hash_texts(texts) % np.uint64(self.num_buckets) + np.uint64(PAD + 1)
        return np.where((texts == "").to_numpy(), self.size - 1, ids).astype(np.int32)

    def state(self) -> dict[str, Any]:
        return {"num_buckets": self.num_buckets}


def hash_texts(texts: pl.Series) -> np.ndarray:
    """The 64-bit hash of each text, uint64: all texts at once, one byte position after another."""
    array = texts.to_arrow().cast(pa.large_string())
    _, offsets, content = array.buffers()
    offsets = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(content or b"\0", np.uint8)
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")  # the longest first: those that go on stay in front
    starts, ends = offsets[:-1][order], np.sort(lengths)
    state = np.full(len(texts), FNV_OFFSET)
    for position in range(int(lengths.max(initial=0))):
        going_on = len(texts) - int(np.searchsorted(ends, position, side="right"))
        front = state[:going_on]
        front ^= content[starts[:going_on] + position]
        front *= FNV_PRIME
    for factor in MIX:
        state ^= state >> MIX_SHIFT
        state *= factor
    state ^= state >> MIX_SHIFT
    hashes = np.empty_like(state)
    hashes[order] = state
    return hashes


@dataclass(frozen=True)
class QuantileBuckets:
    """id = 1 + the number of boundaries below the value.

    Boundary j of n - 1 is the smallest value of the training data with at least j/n of all its values at or
    below it (exactly; NumPy's "inverted_cdf"). Equal boundaries count once, so a number that is most of
    the data gets a bucket of its own and there are fewer buckets than asked for.
    """

    boundaries: np.ndarray  # rising, float64

    @classmethod
    def fit(cls, counts: pl.DataFrame, num_buckets: int) -> QuantileBuckets:
        """From each distinct value and how often it occurs; at least one value."""
        table = counts.sort("value")
        values = table["value"].cast(pl.Float64).to_numpy()
        until = table["count"].cast(pl.Int64).cum_sum().to_numpy()
        wanted = -(-np.arange(1, num_buckets) * until[-1] // num_buckets)  # rounded up
        boundaries = np.unique(values[np.searchsorted(until, wanted)])
        return cls(boundaries[boundaries < values[-1]])  # nothing lies above the largest value

    @property
    def size(self) -> int:
        return len(self.boundaries) + 3

    def __call__(self, values: pl.Series) -> np.ndarray:
        """Ids, int32, shape (len(values),); NaN is missing."""
        numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        ids = np.searchsorted(self.boundaries, numbers) + PAD + 1
        return np.where(np.isnan(numbers), self.size - 1, ids).astype(np.int32)

    def state(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries.tolist()}


Buckets = HashBuckets | QuantileBuckets


def restored(state: dict[str, Any]) -> Buckets:
    """The buckets whose `state` this is."""
    if "boundaries" in state:
        return QuantileBuckets(np.array(state["boundaries"], np.float64))
    return HashBuckets(state["num_buckets"])
