"""Raw CSV and parquet files as blocks of rows: bounded memory, the file's order, exact line numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.raw.csv_text import header, line_of, misshapen, not_utf8, pieces
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest, shown

BLOCK_BYTES = 32 << 20  # of CSV text
BLOCK_ROWS = 250_000  # of parquet
MISSING_MARKS = ("\\n", "null", "none", "na", "n/a", "nil", "-", "?")  # in lower case
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

    def blocks(self, columns: list[str], verify: bool = True) -> Iterator[Block]:
        """Blocks of the given columns, the files one after another.

        Args:
            verify: look for rows with too few fields; needed once for the same files.

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

    def __init__(self, spec: DatasetSpec):
        self._separator = spec.separator
        self._declared = {
            column.name: DTYPES[column.dtype] for column in (*spec.feature_cols, *spec.label_col)
        }
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
        repeated = [name for name in columns if names.count(name) > 1]
        if repeated:
            raise RequestError(
                f"'{file}' has {names.count(name)} columns '{name}': rename all but one" for name in repeated
            )
        row = 0
        for offset, text in pieces(file, BLOCK_BYTES):
            try:
                frame = self._parse(text, schema).select(columns).collect()
                if verify and self._looks_ragged(text, frame.height, schema):
                    self._check_shape(file, offset, text, schema)
            except pl.exceptions.PolarsError as error:
                raise self._explain(error, file, offset, row, text, schema, columns) from error
            yield Block(file, row, frame)
            row += frame.height

    def _parse(self, text: bytes, schema: pl.Schema) -> pl.LazyFrame:
        return pl.scan_csv(text, separator=self._separator, has_header=False, schema=schema)

    def _looks_ragged(self, text: bytes, rows: int, schema: pl.Schema) -> bool:
        """Whether a row may have too few fields, which polars takes for missing cells."""
        if text.count(self._separator.encode()) == rows * (len(schema) - 1):
            return False
        last = schema.names()[-1]
        cells = self._parse(text, pl.Schema(dict.fromkeys(schema, pl.String))).select(last).collect()
        return cells[last].has_nulls()

    def _check_shape(self, file: Path, offset: int, text: bytes, schema: pl.Schema) -> None:
        """Every row has as many fields as the header.

        Raises:
            RequestError: the first row that has not.
        """
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
            raw = self._parse(text, pl.Schema(dict.fromkeys(schema, pl.String))).select(columns).collect()
        except pl.exceptions.PolarsError:
            return RequestError(f"'{file}', after row {row}: {_first_line(error)}")
        problems = _wrong_cells(file, row, raw, schema)
        return RequestError(problems or f"'{file}', after row {row}: {_first_line(error)}")


def _wrong_cells(file: Path, row: int, raw: pl.DataFrame, schema: pl.Schema) -> list[str]:
    """The first cell of each numeric column that is no number."""
    problems = []
    for name in raw.columns:
        cells = raw[name]
        wrong = cells.is_not_null() & cells.cast(schema[name], strict=False).is_null()
        if not wrong.any():
            continue
        at = wrong.arg_max()
        if raw.row(at) == tuple(raw.columns):
            return [f"'{file}', row {row + at + 1} repeats the header, as where files are joined: remove it"]
        kind = "an integer" if schema[name].is_integer() else "a number"
        remedy = "clean the file or declare dtype: str"
        if cells[at].strip().lower() in MISSING_MARKS:
            remedy = "leave missing cells empty (fill_na says what stands for them)"
        place = f"'{file}', row {row + at + 1}"
        problems.append(f"{place}: column '{name}' holds '{cells[at]}', which is not {kind}; {remedy}")
    return problems


class _Parquet:
    def schema(self, file: Path) -> pl.Schema:
        names = self._open(file).schema_arrow.names
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if repeated:
            raise RequestError(
                f"'{file}' has {names.count(name)} columns '{name}': rename all but one" for name in repeated
            )
        return _as_polars(self._open(file).schema_arrow.empty_table()).schema

    def blocks(self, file: Path, schema: pl.Schema, columns: list[str], verify: bool) -> Iterator[Block]:
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
