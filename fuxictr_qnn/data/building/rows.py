"""Preprocessed rows between the survey and the encoding: kept on disk, so that raw files are read once.

A column that becomes ids is held as the distinct values of a block and, for each row, which of them it has.
Counting is then a bincount, and encoding a lookup of the distinct values only. A block of rows takes four
bytes a cell and its distinct values; the file goes when the build is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from fuxictr_qnn.data.building.threads import in_threads
from fuxictr_qnn.data.spec import ColumnSpec


@dataclass(frozen=True)
class Coded:
    """A column of a block.

    Attributes:
        values: its distinct values, one of them perhaps null.
        codes: (rows,) int32, for each row the index of its value.
    """

    values: pl.Series
    codes: np.ndarray

    @classmethod
    def of(cls, series: pl.Series) -> Coded:
        array = series.to_arrow(compat_level=pl.CompatLevel.oldest())
        return cls.from_arrow(array.dictionary_encode(null_encoding="encode"))

    @classmethod
    def from_arrow(cls, array: pa.DictionaryArray) -> Coded:
        return cls(pl.Series(array.dictionary), array.indices.to_numpy())

    def to_arrow(self) -> pa.DictionaryArray:
        values = self.values.to_arrow(compat_level=pl.CompatLevel.oldest())
        return pa.DictionaryArray.from_arrays(pa.array(self.codes), values)

    def counts(self, mask: np.ndarray | None) -> np.ndarray:
        """How many of the rows (of those in the mask) have each value."""
        codes = self.codes if mask is None else self.codes[mask]
        return np.bincount(codes, minlength=len(self.values))


@dataclass(frozen=True)
class Rows:
    """A block of preprocessed rows: the columns that become ids, and the others as they are."""

    coded: dict[str, Coded]
    plain: pl.DataFrame

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Iterable[ColumnSpec]) -> Rows:
        names = [column.name for column in columns if becomes_ids(column)]
        coded = in_threads(lambda name: Coded.of(frame[name]), names)
        return cls(dict(zip(names, coded, strict=True)), frame.drop(names))


def becomes_ids(column: ColumnSpec) -> bool:
    """Whether a column's values are looked up."""
    return column.has_vocabulary or (column.type == "meta" and column.remap)


class RowsFile:
    """Blocks of rows, written one after another and then read once in the same order.

    Part files may hold a column in several types of numbers: a stream of blocks for each follows the other.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: pa.NativeFile | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None

    @contextmanager
    def writing(self) -> Iterator[Callable[[Rows], None]]:
        """A function that appends a block."""
        try:
            yield self._write
        finally:
            if self._writer is not None:
                self._writer.close()
            if self._file is not None:
                self._file.close()

    def _write(self, rows: Rows) -> None:
        arrays = {name: column.to_arrow() for name, column in rows.coded.items()}
        for series in rows.plain:
            arrays[series.name] = series.to_arrow(compat_level=pl.CompatLevel.oldest())
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))
        if self._file is None:
            self._file = pa.OSFile(str(self._path), "wb")
        if batch.schema != self._schema:
            if self._writer is not None:
                self._writer.close()
            self._writer, self._schema = pa.ipc.new_stream(self._file, batch.schema), batch.schema
        self._writer.write_batch(batch)

    def read(self) -> Iterator[Rows]:
        """All blocks; the file is deleted after the last one."""
        with pa.memory_map(str(self._path)) as source:
            while source.tell() < source.size():
                with pa.ipc.open_stream(source) as blocks:
                    yield from map(_rows, blocks)
        self._path.unlink()


def _rows(batch: pa.RecordBatch) -> Rows:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    coded = {
        name: Coded.from_arrow(array)
        for name, array in columns.items()
        if isinstance(array, pa.DictionaryArray)
    }
    plain = {name: pl.Series(array) for name, array in columns.items() if name not in coded}
    return Rows(coded, pl.DataFrame(plain))
