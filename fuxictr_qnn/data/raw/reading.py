"""Raw CSV and parquet files as blocks of rows: bounded memory, the file's order, exact line numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest

BLOCK_BYTES = 32 << 20  # of CSV text
BLOCK_ROWS = 250_000  # of parquet
DTYPES = {"str": pl.String, "int": pl.Int64, "float": pl.Float64}


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Attributes:
        file: where they are from.
        first_row: number of the first one within the file, from 0.
        frame: their raw columns.
    """

    file: Path
    first_row: int
    frame: pl.DataFrame


class RawFiles:
    """The raw files of one split, read block by block.

    Args:
        files: of one format and one set of columns.
        spec: the dataset config (format, separator, types of the columns).
    """

    def __init__(self, files: list[Path], spec: DatasetSpec):
        self.files = files
        self._format = _Csv(spec) if spec.data_format == "csv" else _Parquet()

    def schema(self) -> pl.Schema:
        """Columns of the first file; undeclared CSV columns have the type of their first 100 rows."""
        return self._format.schema(self.files[0])

    def blocks(self, columns: list[str]) -> Iterator[Block]:
        """Blocks of the given columns, the files one after another.

        Raises:
            RequestError: a missing column, a cell that does not parse, a damaged file.
        """
        for file in self.files:
            schema = self._format.schema(file)
            missing = [name for name in columns if name not in schema]
            if missing:
                raise RequestError(
                    f"'{file}' has no column '{name}'.{nearest(name, schema)}" for name in missing
                )
            yield from self._format.blocks(file, schema, columns)


class _Csv:
    """CSV with a header line. Fields may be quoted and then hold line ends, as polars reads them."""

    def __init__(self, spec: DatasetSpec):
        self._separator = spec.separator
        self._declared = {
            column.name: DTYPES[column.dtype] for column in (*spec.feature_cols, *spec.label_col)
        }

    def schema(self, file: Path) -> pl.Schema:
        try:
            scan = pl.scan_csv(file, separator=self._separator, schema_overrides=self._declared)
            return scan.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise RequestError(f"'{file}' is not CSV: {_first_line(error)}") from error

    def blocks(self, file: Path, schema: pl.Schema, columns: list[str]) -> Iterator[Block]:
        row = 0
        for text in _texts(file):
            try:
                frame = self._parse(text, schema).select(columns).collect()
            except pl.exceptions.PolarsError as error:
                raise self._explain(error, file, row, text, schema, columns) from error
            if frame.height:
                yield Block(file, row, frame)
            row += frame.height

    def _parse(self, text: bytes, schema: pl.Schema) -> pl.LazyFrame:
        return pl.scan_csv(text, separator=self._separator, has_header=False, schema=schema)

    def _explain(self, error, file, row, text, schema, columns) -> RequestError:
        """Which cells of the declared numeric columns are no numbers: the first of each column."""
        try:
            raw = self._parse(text, pl.Schema(dict.fromkeys(schema, pl.String))).select(columns).collect()
        except pl.exceptions.PolarsError:
            return RequestError(f"'{file}', after row {row}: {_first_line(error)}")
        problems = []
        for name in columns:
            cells = raw[name]
            wrong = cells.is_not_null() & cells.cast(schema[name], strict=False).is_null()
            if wrong.any():
                at = wrong.arg_max()
                kind = "an integer" if schema[name].is_integer() else "a number"
                problems.append(
                    f"'{file}', row {row + at + 1}: column '{name}' holds '{cells[at]}', "
                    f"which is not {kind}; clean the file or declare dtype: str"
                )
        return RequestError(problems or f"'{file}', after row {row}: {_first_line(error)}")


def _texts(file: Path) -> Iterator[bytes]:
    """The lines after the header in pieces of about BLOCK_BYTES, cut where a row ends."""
    with open(file, "rb") as source:
        header = source.readline()
        while header.count(b'"') % 2:  # a quoted column name with a line end in it
            more = source.readline()
            if not more:
                return
            header += more
        rest = b""
        while chunk := source.read(BLOCK_BYTES):
            rest += chunk
            end = _row_end(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
        if rest.strip():
            yield rest


def _row_end(text: bytes) -> int:
    """Length of the complete rows in `text`: up to the last line end outside of quotes."""
    end = text.rfind(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        end = text.rfind(b"\n", 0, end - 1) + 1
    return end


class _Parquet:
    def schema(self, file: Path) -> pl.Schema:
        return _as_polars(self._open(file).schema_arrow.empty_table()).schema

    def blocks(self, file: Path, schema: pl.Schema, columns: list[str]) -> Iterator[Block]:
        row = 0
        try:
            for batch in self._open(file).iter_batches(BLOCK_ROWS, columns=columns):
                frame = _as_polars(pa.Table.from_batches([batch])).select(columns)
                yield Block(file, row, frame)
                row += frame.height
        except (pa.ArrowException, OSError) as error:
            raise RequestError(
                f"'{file}', after row {row}: damaged parquet ({_first_line(error)})"
            ) from error

    def _open(self, file: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            raise RequestError(f"'{file}' is no parquet file or is cut off: {_first_line(error)}") from error


def _as_polars(table: pa.Table) -> pl.DataFrame:
    """Text stored as categories becomes text again."""
    frame = pl.from_arrow(table)
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
