"""Columns of raw values become columns of ids and numbers, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.building.preprocessing import Preprocessing
from fuxictr_qnn.data.building.survey import Moments, preprocess
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import PAD, Lookup, Vocabulary, split_tokens
from fuxictr_qnn.errors import RequestError

Encoder = Callable[[pl.Series], pa.Array]


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
    column: ColumnSpec, vocabulary: Vocabulary | None, scaler: Scaler | None, max_len: int
) -> Encoder:
    """The function that encodes one column's values."""
    if column.type == "numeric":
        return lambda values: _scaled(values, scaler)
    if column.type == "embedding":
        return lambda values: _vectors(values, column)
    if column.type == "sequence":
        lookup = Lookup(vocabulary)
        return lambda values: _sequences(values, column, lookup, max_len)
    if vocabulary is None:  # a meta column with remap: false
        return lambda values: pa.array(values.cast(pl.Int64).to_numpy())
    lookup = Lookup(vocabulary)
    dtype = np.int64 if column.type == "meta" else np.int32
    return lambda values: pa.array(lookup(values).astype(dtype))


def encode_split(
    files: RawFiles,
    preprocessing: Preprocessing,
    encoders: dict[str, Encoder],
    spec: DatasetSpec,
    target: Path,
) -> None:
    """Write the split as one parquet file, a row group for each block, in the order of the raw rows."""
    writer = None
    try:
        for block in files.blocks(preprocessing.inputs):
            frame = preprocess(preprocessing, block)
            try:
                arrays = {name: encode(frame[name]) for name, encode in encoders.items()}
            except _Misfit as error:
                raise RequestError(f"'{block.file}', after row {block.first_row}: {error}") from error
            for label in spec.label_col:
                arrays[label.name] = _scaled(frame[label.name], None)
            table = pa.table(arrays)
            writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


class _Misfit(ValueError):
    """A value that does not have the shape the config promises."""


def _scaled(values: pl.Series, scaler: Scaler | None) -> pa.Array:
    numbers = values.cast(pl.Float64).to_numpy()
    if scaler is not None:
        numbers = (numbers - scaler.shift) / scaler.scale
    return pa.array(numbers.astype(np.float32))


def _vectors(values: pl.Series, column: ColumnSpec) -> pa.Array:
    """A list of as many numbers a row as the config says."""
    if not values.list.len().eq_missing(column.vector_width).all():
        raise _Misfit(
            f"column '{column.name}' has a row without {column.vector_width} numbers (pretrain_dim)"
        )
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


def padded(flat: np.ndarray, lengths: np.ndarray, width: int, side: str) -> np.ndarray:
    """Lists as the rows of a matrix, padded with PAD and cut at one side ("pre" or "post").

    Args:
        flat: the entries of all lists, one list after another.
        lengths: how many entries each list has.
    """
    ends = np.cumsum(lengths)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(flat)) - np.repeat(ends - lengths, lengths)
    if side == "pre":
        place += width - lengths[rows]
    inside = (place >= 0) & (place < width)
    matrix = np.full((len(lengths), width), PAD, np.int32)
    matrix[rows[inside], place[inside]] = flat[inside]
    return matrix


def as_lists(matrix: np.ndarray) -> pa.Array:
    """Rows of a matrix as an arrow list column."""
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(matrix).reshape(-1))
