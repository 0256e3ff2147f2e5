"""Raw CSV and parquet files as blocks of rows: bounded memory, the file's order, exact line numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.raw.csv_text import (
    header,
    in_shape,
    line_of,
    line_of_row,
    misshapen,
    not_text,
    not_utf8,
    pieces,
)
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest, shown

BLOCK_BYTES = 32 << 20  # of CSV text
BLOCK_ROWS = 250_000  # of parquet
MISSING_MARKS = ("\\n", "null", "none", "na", "n/a", "nil", "-", "?")  # in lower case
DTYPES = {"str": pl.String, "int": pl.Int64, "float": pl.Float64}
_WRITTEN = " as written"  # ends the name of a CSV column's second, textual copy


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Attributes:
        file: where they are from.
        first_row: number of the first one within the file, from 0.
        frame: their raw columns.
        offset: of the first one in a text file, in bytes.
    """

    file: Path
    first_row: int
    frame: pl.DataFrame
    offset: int | None = None

    def place(self, at: int) -> str:
        """Where row `at` of the frame is: its line in a text file, where 1 is the header, else its row."""
        if self.offset is None:
            return f"'{self.file}', row {self.first_row + at + 1}"
        return f"'{self.file}', line {line_of_row(self.file, self.offset, at)}"

    def written(self, name: str) -> pl.Series:
        """A column that was to be kept as it is written."""
        copy = name + _WRITTEN
        return self.frame[copy if copy in self.frame.columns else name].alias(name)


class RawFiles:
    """The raw files of one split, read block by block.

    Args:
        files: of one format and one set of columns.
        spec: the dataset config (format, separator, types of the columns).
        types: of CSV columns for which the config declares none.
        share: how large a block is, as a share of the usual size.
        written: columns that blocks hold as they are written, too: `Block.written`.
    """

    def __init__(
        self,
        files: list[Path],
        spec: DatasetSpec,
        types: Mapping[str, Any] = MappingProxyType({}),
        share: float = 1,
        written: Collection[str] = (),
    ):
        self.files = files
        self._spec, self._types, self._share = spec, types, share
        csv = spec.data_format == "csv"
        self._format = _Csv(spec, types, share, written) if csv else _Parquet(share, written)

    def with_texts(self, texts: Collection[str]) -> RawFiles:
        """The same files, `texts` read as text where the config declares no type."""
        types = {**self._types, **dict.fromkeys(texts, pl.String)}
        return RawFiles(self.files, self._spec, types, self._share)

    def with_written(self, written: Collection[str]) -> RawFiles:
        """The same files, blocks of which hold these columns as they are written."""
        return RawFiles(self.files, self._spec, self._types, self._share, written)

    def schema(self) -> pl.Schema:
        """Columns of the first file; undeclared CSV columns have the type of their first 100 rows."""
        return self._format.schema(self.files[0])

    def blocks(self, columns: list[str], verify: bool = True) -> Iterator[Block]:
        """Blocks of the given columns, the files one after another.

        Args:
            verify: look at the shape of every row; needed once for the same files.

        Raises:
            RequestError: a missing or repeated column, a row out of shape, a cell that does not parse, a
                damaged file.
        """
        for file in self.files:
            schema = self._format.schema(file)
            missing = [name for name in columns if name not in schema]
            if missing:
                raise RequestError(
                    f"'{file}' has no column '{name}'.{nearest(name, schema)}" for name in missing
                )
            yield from self._format.blocks(file, schema, columns, verify)


class _Csv:
    """CSV with a header line. Fields may be quoted and then hold line ends, as polars reads them."""

    def __init__(self, spec: DatasetSpec, types: Mapping[str, Any], share: float, written: Collection[str]):
        self._separator = spec.separator
        self._bytes = int(BLOCK_BYTES * share)
        self._written, self._is_fixed = list(written), not spec.feature_cols
        self._declared = dict(types)
        for column in (*spec.feature_cols, *spec.label_col):
            self._declared[column.name] = DTYPES[column.dtype]
        if spec.weight_col:
            self._declared[spec.weight_col] = pl.Float64

    def schema(self, file: Path) -> pl.Schema:
        header(file, self._separator)
        try:
            scan = pl.scan_csv(file, separator=self._separator, schema_overrides=self._declared)
            return scan.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise RequestError(f"'{file}' is not CSV: {_first_line(error)}") from error

    def blocks(self, file: Path, schema: pl.Schema, columns: list[str], verify: bool) -> Iterator[Block]:
        names = header(file, self._separator)
        repeated = [name for name in dict.fromkeys([*columns, *self._written]) if names.count(name) > 1]
        if repeated:
            raise RequestError(
                f"'{file}' has {names.count(name)} columns '{name}': rename all but one" for name in repeated
            )
        twice = [name for name in self._written if name not in columns or schema[name] != pl.String]
        row = 0
        for offset, text in pieces(file, self._bytes):
            if verify:
                self._check_shape(file, offset, text, schema)
            try:
                frame = self._parse(text, schema, columns)
                if twice:
                    texts = self._parse(text, _all_text(schema), twice)
                    frame = frame.hstack(texts.rename(lambda name: name + _WRITTEN))
            except pl.exceptions.PolarsError as error:
                raise self._explain(error, file, offset, row, text, schema, columns) from error
            yield Block(file, row, frame, offset)
            row += frame.height

    def _parse(self, text: bytes, schema: pl.Schema, columns: list[str]) -> pl.DataFrame:
        at = [list(schema).index(name) for name in columns]
        options = {"separator": self._separator, "has_header": False, "schema": schema}
        return pl.read_csv(text, columns=at, **options).select(columns)

    def _check_shape(self, file: Path, offset: int, text: bytes, schema: pl.Schema) -> None:
        """Every row has as many fields as the header; polars fills up short ones and cuts off long ones.

        Raises:
            RequestError: the first row that has not, or a NUL byte.
        """
        if b"\0" in text:
            raise RequestError(not_text(file, line_of(file, offset + text.index(b"\0"))))
        if in_shape(text, self._separator, len(schema)):
            return
        found = misshapen(text, self._separator, len(schema))
        if found is None:
            return
        start, fields = found
        place = f"'{file}', line {line_of(file, offset + start)}"
        if not fields:
            raise RequestError(f"{place} is blank: remove it")
        raise RequestError(
            f"{place} has {fields} fields, but the header has {len(schema)} columns: correct or remove it; "
            f"a text that holds {shown(self._separator)} must be in quotes, and each quote in it doubled"
        )

    def _explain(self, error, file, offset, row, text, schema, columns) -> RequestError:
        """What is wrong with a piece: its encoding, the shape of a row, or cells that are no numbers."""
        try:
            text.decode()
        except UnicodeDecodeError as bad:
            return RequestError(not_utf8(file, line_of(file, offset + bad.start), text[bad.start]))
        try:
            self._check_shape(file, offset, text, schema)
        except RequestError as ragged:
            return ragged
        try:
            raw = self._parse(text, _all_text(schema), columns)
        except pl.exceptions.PolarsError:
            raw = pl.DataFrame()
        problems = _wrong_cells(Block(file, row, raw, offset), schema, self._is_fixed)
        return RequestError(
            problems or f"'{file}', line {line_of(file, offset)} or later: {_first_line(error)}"
        )


def _all_text(schema: pl.Schema) -> pl.Schema:
    return pl.Schema(dict.fromkeys(schema, pl.String))


def _wrong_cells(block: Block, schema: pl.Schema, fixed: bool) -> list[str]:
    """The first cell of each numeric column that is no number; the block's cells are all text.

    Args:
        fixed: no config can declare other types any more.
    """
    problems, raw = [], block.frame
    for name in raw.columns:
        cells, dtype = raw[name], schema[name]
        if not dtype.is_numeric():
            continue
        wrong = cells.is_not_null() & cells.cast(dtype, strict=False).is_null()
        if not wrong.any():
            continue
        at = wrong.arg_max()
        if raw.row(at) == tuple(raw.columns):
            return [f"{block.place(at)} repeats the header, as where files are joined: remove it"]
        kind = "an integer" if dtype.is_integer() else "a number"
        remedy = "correct it" if fixed else "clean the file or declare dtype: str"
        if cells[at].strip().lower() in MISSING_MARKS:
            remedy = "leave missing cells empty"
            remedy += "" if fixed else " (fill_na says what stands for them)"
        problems.append(
            f"{block.place(at)}: column '{name}' holds '{cells[at]}', which is not {kind}; {remedy}"
        )
    return problems


class _Parquet:
    def __init__(self, share: float, written: Collection[str]):
        self._rows = int(BLOCK_ROWS * share)
        self._written = written

    def schema(self, file: Path) -> pl.Schema:
        names = self._open(file).schema_arrow.names
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if repeated:
            raise RequestError(
                f"'{file}' has {names.count(name)} columns '{name}': rename all but one" for name in repeated
            )
        return _as_polars(self._open(file).schema_arrow.empty_table()).schema

    def blocks(self, file: Path, schema: pl.Schema, columns: list[str], verify: bool) -> Iterator[Block]:
        row, columns = 0, list(dict.fromkeys([*columns, *self._written]))
        try:
            for batch in self._open(file).iter_batches(self._rows, columns=columns):
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
