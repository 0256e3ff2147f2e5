"""Encoded files as packed matrices: all ids in one, all numbers in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fuxictr_qnn.data.encoded.h5 import H5Column, H5Rows, part_number
from fuxictr_qnn.errors import RequestError, nearest

BLOCK_ROWS = 250_000
SUFFIXES = (".parquet", ".npz", ".h5")


@dataclass(frozen=True)
class Field:
    """Where a column lies: columns [start, start + width) of its matrix; a list column has `is_list`.

    Of a history the last `width` entries are kept, and a shorter one is padded with 0 on the left. Ids
    are below `size`, where that is known. `source` are the columns of FuxiCTR's old h5 matrix.
    """

    name: str
    matrix: str  # "ids" (int32), "groups" (int64, meta columns) or "numbers" (float32)
    start: int
    width: int
    is_list: bool
    is_history: bool = False
    size: int | None = None
    source: tuple[int, ...] = ()


def layout(feature_map: Any, weight_col: str | None = None) -> list[Field]:
    """The matrices' columns for the features of a FuxiCTR FeatureMap, its group_id, a weight and its labels.

    Features that the feature map's item table holds have none, except the item id.
    """
    fields: list[Field] = []
    next_column = {"ids": 0, "groups": 0, "numbers": 0}

    in_table = getattr(feature_map, "item_table", {}).keys() - {getattr(feature_map, "item_key", None)}

    def put(name: str, matrix: str, width: int = 1, source: Iterable[int] = (), **more: Any) -> None:
        fields.append(Field(name, matrix, next_column[matrix], width, source=tuple(source), **more))
        next_column[matrix] += width

    for name, spec in feature_map.features.items():
        kind, source = spec["type"], spec.get("index", ())
        if name in in_table:
            continue
        if name == getattr(feature_map, "item_history", None):
            put(name, "ids", spec["max_len"], is_list=True, is_history=True)
        elif kind == "sequence":
            put(name, "ids", spec["max_len"], source, is_list=True, size=_ids(feature_map, spec))
        elif kind == "embedding":
            put(name, "numbers", spec["pretrain_dim"], source, is_list=True)
        elif kind == "categorical":
            put(name, "ids", 1, source, is_list=False, size=_ids(feature_map, spec))
        else:
            put(name, "groups" if kind == "meta" else "numbers", 1, source, is_list=False)
    if feature_map.group_id and feature_map.group_id not in feature_map.features:
        put(feature_map.group_id, "groups", is_list=False)
    if weight_col:
        put(weight_col, "numbers", is_list=False)
    for at, label in enumerate(feature_map.labels):
        put(label, "numbers", 1, [at - len(feature_map.labels)], is_list=False)
    return fields


def _ids(feature_map: Any, spec: dict[str, Any]) -> int | None:
    """How many ids the feature's embedding table has, its own or the one it shares."""
    shared = feature_map.features.get(spec.get("share_embedding"), {})
    return max((each["vocab_size"] for each in (spec, shared) if "vocab_size" in each), default=None)


DTYPES = {"ids": np.int32, "groups": np.int64, "numbers": np.float32}


def widths(fields: list[Field]) -> dict[str, int]:
    """Columns of each matrix; names without columns are left out."""
    found = {name: sum(field.width for field in fields if field.matrix == name) for name in DTYPES}
    return {name: width for name, width in found.items() if width}


def row_bytes(fields: list[Field]) -> int:
    """What a row takes in the matrices."""
    return sum(width * np.dtype(DTYPES[name]).itemsize for name, width in widths(fields).items())


def empty_matrices(rows: int, fields: list[Field]) -> dict[str, np.ndarray]:
    """Matrices of shape (rows, columns), row-major, not filled yet."""
    return {name: np.empty((rows, width), DTYPES[name]) for name, width in widths(fields).items()}


Columns = dict[str, np.ndarray]


def fill(
    matrices: Columns, start: int, height: int, columns: Columns, fields: list[Field], file: Path
) -> None:
    """Put a block of rows into the matrices, from row `start` on; `file` is where they are from.

    Raises:
        RequestError: a list of another length, an id that its embedding table does not have, text.
    """
    for field in fields:
        target = matrices[field.matrix][start : start + height, field.start : field.start + field.width]
        values = _numbers(columns[field.name], field, file)
        if field.is_history:
            values = _last(values, height, field.width)
        if values.size != target.size:
            raise RequestError(f"'{file}': rows of column '{field.name}' are not {field.width} long")
        if field.size is not None:
            _check_ids(values, field, file)
        target[:] = values.reshape(height, field.width)


def _numbers(values: np.ndarray, field: Field, file: Path) -> np.ndarray:
    """Encoded data is numbers; those that name groups are whole, the others finite."""
    if values.dtype.kind in "OSU":
        try:
            if field.matrix != "ids":
                return values.astype(DTYPES[field.matrix])  # decimals
        except (TypeError, ValueError):
            pass
        raise RequestError(
            f"'{file}': column '{field.name}' holds text, or cells without a number, where encoded data has "
            "numbers: if these are raw values, remove rebuild_dataset: false and build from them"
        )
    if field.matrix == "groups" and values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise RequestError(
            f"'{file}': column '{field.name}' has cells that are missing or no whole numbers: fill them"
        )
    if field.matrix == "numbers" and not np.isfinite(values).all():
        raise RequestError(
            f"'{file}': column '{field.name}' has cells that are missing or no finite numbers: correct them"
        )
    return values


def _check_ids(values: np.ndarray, field: Field, file: Path) -> None:
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if not (low >= 0 and high < field.size):  # so that NaN is refused, too
        outside = high if low >= 0 else low
        raise RequestError(
            f"'{file}': column '{field.name}' holds the id {outside:.12g}, but its vocab_size is "
            f"{field.size}: ids go from 0 to {field.size - 1}; is the feature map of other data?"
        )
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise RequestError(f"'{file}': column '{field.name}' holds ids that are no whole numbers")


def read_matrices(path: Path, fields: list[Field]) -> dict[str, np.ndarray]:
    """Read files into matrices of shape (rows, columns), row-major; names without columns are left out.

    Args:
        path: a parquet, npz or h5 file (its suffix may be missing), a folder of them or a pattern.

    Raises:
        RequestError: no such data, a damaged file, a missing column, a list of another length.
    """
    parts = open_parts(path, fields)
    matrices = empty_matrices(sum(sum(part.pieces) for part in parts), fields)
    start = 0
    for part in parts:
        for height, columns in part.blocks(range(len(part.pieces))):
            fill(matrices, start, height, columns, fields, part.file)
            start += height
    return matrices


def _last(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """The last `width` entries of `height` lists of one length, 0 before the first of shorter ones."""
    length = values.size // height
    values = values[: height * length].reshape(height, length)[:, -width:]
    return np.pad(values, ((0, 0), (width - values.shape[1], 0)))


def data_files(path: Path) -> list[Path]:
    """The part files behind a path, in their order: a file, a folder, or a pattern (train_part_*.h5)."""
    if "*" in path.name:
        files = [file for file in path.parent.glob(path.name) if file.suffix in SUFFIXES]
    elif path.is_dir():
        files = next((found for suffix in SUFFIXES if (found := list(path.glob(f"*{suffix}")))), [])
    else:
        places = [path, *(Path(f"{path}{suffix}") for suffix in (".npz", ".parquet", ".h5"))]
        files = [place for place in places if place.is_file()][:1]
    if not files or files[0].suffix not in SUFFIXES:
        raise RequestError(f"'{path}' holds no encoded data (.parquet, .npz or .h5)")
    return sorted(files, key=part_number if files[0].suffix == ".h5" else None)


class Part(Protocol):
    """One encoded file: rows in pieces, each of which can be read without the others.

    Attributes:
        pieces: rows of each piece.
    """

    file: Path
    pieces: list[int]

    def blocks(self, pieces: Iterable[int]) -> Iterator[tuple[int, Columns]]:
        """The rows of some pieces: number of rows and each field's values, a block at a time.

        Raises:
            RequestError: the file is damaged.
        """
        ...


def open_parts(path: Path, fields: list[Field]) -> list[Part]:
    """The files behind a path, their columns checked, nothing else read yet.

    Raises:
        RequestError: no such data, a damaged file, a missing column.
    """
    kinds = {".parquet": _ParquetPart, ".npz": _NpzPart, ".h5": _h5_part}
    return [kinds[file.suffix](file, fields) for file in data_files(path)]


class _ParquetPart:
    """A parquet file; its pieces are its row groups."""

    def __init__(self, file: Path, fields: list[Field]):
        self.file, self._fields = file, fields
        parquet = self._open()
        _check_columns(file, fields, parquet.schema_arrow.names)
        self._metadata = parquet.metadata
        groups = range(parquet.metadata.num_row_groups)
        self.pieces = [parquet.metadata.row_group(number).num_rows for number in groups]

    def blocks(self, pieces: Iterable[int]) -> Iterator[tuple[int, Columns]]:
        names = [field.name for field in self._fields]
        try:
            parquet = self._open(self._metadata)  # a reader of its own: passes may run in several threads
            for batch in parquet.iter_batches(BLOCK_ROWS, columns=names, row_groups=list(pieces)):
                yield (
                    batch.num_rows,
                    {field.name: self._values(batch.column(field.name), field) for field in self._fields},
                )
        except (pa.ArrowException, OSError) as error:
            raise RequestError(f"'{self.file}' is damaged: {error}") from error

    def _values(self, column: pa.Array, field: Field) -> np.ndarray:
        """The column's values, of lists one after another: of one length, or rows would shift."""
        if field.is_list:
            lengths = pc.list_value_length(column)
            if lengths.null_count or len(pc.unique(lengths)) > 1:
                raise RequestError(
                    f"'{self.file}': column '{field.name}' has rows of different length, or without a list: "
                    "pad them with 0"
                )
            column = column.flatten()
        return column.to_numpy(zero_copy_only=False)

    def _open(self, metadata: Any = None) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.file, metadata=metadata)
        except (pa.ArrowException, OSError) as error:
            raise RequestError(f"'{self.file}' is no parquet file or is cut off: {error}") from error


_NOT_NPZ = (OSError, ValueError, BadZipFile)


class _NpzPart:
    """An npz file, in one piece."""

    def __init__(self, file: Path, fields: list[Field]):
        self.file, self._fields = file, fields
        arrays = self._load()
        _check_columns(file, fields, arrays.files)
        rows = len(self._columns(arrays, fields[-1:])[fields[-1].name])
        self.pieces = [rows] if rows else []

    def blocks(self, pieces: Iterable[int]) -> Iterator[tuple[int, Columns]]:
        for piece in pieces:
            yield self.pieces[piece], self._columns(self._load(), self._fields)

    def _load(self) -> Any:
        try:
            return np.load(self.file)  # a pickle inside is refused
        except _NOT_NPZ as error:
            raise RequestError(f"'{self.file}' is no npz file of arrays: {error}") from error

    def _columns(self, arrays: Any, fields: list[Field]) -> Columns:
        try:
            return {field.name: arrays[field.name] for field in fields}
        except _NOT_NPZ as error:
            raise RequestError(f"'{self.file}' is no npz file of arrays: {error}") from error


def _h5_part(file: Path, fields: list[Field]) -> H5Rows:
    return H5Rows(file, [H5Column(field.name, list(field.source)) for field in fields])


def _check_columns(file: Path, fields: list[Field], names: list[str]) -> None:
    missing = [field.name for field in fields if field.name not in names]
    if missing:
        raise RequestError(f"'{file}' has no column '{name}'.{nearest(name, names)}" for name in missing)
