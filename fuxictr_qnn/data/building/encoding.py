"""Columns of raw values become columns of ids and numbers, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.building.buckets import Buckets
from fuxictr_qnn.data.building.rows import Rows
from fuxictr_qnn.data.building.survey import WEIGHT, Moments
from fuxictr_qnn.data.building.threads import in_threads
from fuxictr_qnn.data.lists import as_lists, padded
from fuxictr_qnn.data.raw.splits import Source
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import PAD, Vocabulary, split_tokens

# Rows that are read together when data is streamed: few enough that 512 MiB hold some fifty groups of
# Criteo's 40 columns to shuffle among each other, many enough that reading costs the same as in larger ones.
ROW_GROUP = 65_536

Encoder = Callable[[pl.Series], pa.Array]
Lookup = Callable[[pl.Series], np.ndarray]  # values -> ids


@dataclass(frozen=True)
class Scaler:
    """A numeric column's normalizer: (x - shift) / scale."""

    normalizer: str
    shift: float
    scale: float

    @classmethod
    def fit(cls, normalizer: str, moments: Moments) -> Scaler:
        if normalizer == "StandardScaler":
            return cls(normalizer, moments.mean, moments.std or 1.0)
        return cls(normalizer, moments.minimum, (moments.maximum - moments.minimum) or 1.0)


def make_encoder(
    column: ColumnSpec, ids: Vocabulary | Buckets | None, scaler: Scaler | None, max_len: int
) -> Encoder:
    """The function that encodes one column's values."""
    lookup = ids.lookup() if isinstance(ids, Vocabulary) else ids
    if column.type == "numeric":
        return lambda values: _scaled(values, scaler)
    if column.type == "embedding":
        return _vectors
    if column.type == "sequence":
        return lambda values: _sequences(values, column, lookup, max_len)
    if lookup is None:  # a meta column with remap: false
        return lambda values: pa.array(values.cast(pl.Int64).to_numpy())
    dtype = np.int64 if column.type == "meta" else np.int32
    return lambda values: pa.array(lookup(values).astype(dtype))


def encode_source(
    source: Source,
    blocks: Iterable[Rows],
    encoders: dict[str, Encoder],
    spec: DatasetSpec,
) -> Iterator[tuple[str, pa.Table]]:
    """Encode the source block by block: each split's rows, in the order of the raw rows.

    Args:
        blocks: the source's preprocessed rows.
    """
    weight = source.weight_of(spec)
    start = 0
    for rows in blocks:
        encoded = in_threads(partial(_encoded, rows, encoders), encoders)
        arrays = dict(zip(encoders, encoded, strict=True))
        for label in spec.label_col:
            arrays[label.name] = _scaled(rows.plain[label.name], None)
        table = pa.table(arrays)
        for split, mask in source.parts(start, table.num_rows).items():
            part = table if mask is None else table.filter(pa.array(mask))
            if weight and split == "train":
                weights = _scaled(rows.plain[WEIGHT], None)
                part = part.append_column(weight[0], weights if mask is None else weights.filter(mask))
            yield split, part
        start += table.num_rows


def _encoded(rows: Rows, encoders: dict[str, Encoder], name: str) -> pa.Array:
    if name not in rows.coded:
        return encoders[name](rows.plain[name])
    column = rows.coded[name]
    return encoders[name](column.values).take(pa.array(column.codes))


class SplitFiles:
    """The files `<split>.parquet` of a folder, written table by table; to be closed by `with`.

    A table becomes one row group, or several of at most ROW_GROUP rows.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, split: str, table: pa.Table) -> None:
        if split not in self._writers:
            target = self._folder / f"{split}.parquet"
            self._writers[split] = pq.ParquetWriter(
                target,
                table.schema,
                compression="zstd",
                use_dictionary=False,  # ids are small numbers already: splitting their bytes takes two
                use_byte_stream_split=True,  # thirds of the time and four fifths of the space
            )
        self._writers[split].write_table(table, row_group_size=_row_group(table.num_rows))

    def __enter__(self) -> SplitFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()


def _row_group(rows: int) -> int:
    """The size that cuts `rows` into row groups alike, none above ROW_GROUP."""
    return -(-rows // max(1, -(-rows // ROW_GROUP)))


def _scaled(values: pl.Series, scaler: Scaler | None) -> pa.Array:
    numbers = values.cast(pl.Float64).to_numpy()
    if scaler is not None:
        numbers = (numbers - scaler.shift) / scaler.scale
    return pa.array(numbers.astype(np.float32))


def _vectors(values: pl.Series) -> pa.Array:
    """A list of as many numbers a row as the config says; the survey has seen to that."""
    numbers = pl.from_arrow(values.cast(pl.List(pl.Float32)).to_arrow().flatten()).to_numpy()
    return as_lists(numbers.reshape(len(values), -1))


def _sequences(values: pl.Series, column: ColumnSpec, lookup: Lookup, max_len: int) -> pa.Array:
    """Ids padded and cut at the configured side; a token that is the missing value is padding."""
    tokens, lengths = split_tokens(values, column.splitter)
    ids = lookup(tokens)
    na_value = "" if column.fill_na is None else column.fill_na
    if isinstance(na_value, str):
        ids[(tokens == na_value).to_numpy()] = PAD
    return as_lists(padded(ids, lengths, max_len, column.padding))
