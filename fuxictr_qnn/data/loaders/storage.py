"""Encoded files as packed matrices: all ids in one, all numbers in another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.errors import RequestError, nearest

BLOCK_ROWS = 250_000


@dataclass(frozen=True)
class Field:
    """Where a column lies: columns [start, start + width) of its matrix; a list column has `is_list`.

    Of a history the last `width` entries are kept, and a shorter one is padded with 0 on the left.
    """

    name: str
    matrix: str  # "ids" (int32), "groups" (int64, meta columns) or "numbers" (float32)
    start: int
    width: int
    is_list: bool
    is_history: bool = False


def layout(feature_map: Any) -> list[Field]:
    """The matrices' columns for the features of a FuxiCTR FeatureMap, its group_id and its labels.

    Features that the feature map's item table holds have none, except the item id.
    """
    fields: list[Field] = []
    next_column = {"ids": 0, "groups": 0, "numbers": 0}

    in_table = getattr(feature_map, "item_table", {}).keys() - {getattr(feature_map, "item_key", None)}

    def put(name: str, matrix: str, width: int = 1, is_list: bool = False, is_history: bool = False) -> None:
        fields.append(Field(name, matrix, next_column[matrix], width, is_list, is_history))
        next_column[matrix] += width

    for name, spec in feature_map.features.items():
        kind = spec["type"]
        if name in in_table:
            continue
        if name == getattr(feature_map, "item_history", None):
            put(name, "ids", spec["max_len"], is_list=True, is_history=True)
        elif kind == "sequence":
            put(name, "ids", spec["max_len"], is_list=True)
        elif kind == "embedding":
            put(name, "numbers", spec["pretrain_dim"], is_list=True)
        else:
            put(name, {"categorical": "ids", "meta": "groups"}.get(kind, "numbers"))
    if feature_map.group_id and feature_map.group_id not in feature_map.features:
        put(feature_map.group_id, "groups")
    for label in feature_map.labels:
        put(label, "numbers")
    return fields


DTYPES = {"ids": np.int32, "groups": np.int64, "numbers": np.float32}


def read_matrices(path: Path, fields: list[Field]) -> dict[str, np.ndarray]:
    """Read files into matrices of shape (rows, columns), row-major; names without columns are left out.

    Args:
        path: a parquet or npz file (its suffix may be missing), or a folder of them, in name order.

    Raises:
        RequestError: no such data, a damaged file, a missing column, a list of another length.
    """
    files = data_files(path)
    rows = [_rows(file, fields) for file in files]
    matrices = {
        name: np.empty((sum(rows), width), DTYPES[name])
        for name in DTYPES
        if (width := sum(field.width for field in fields if field.matrix == name))
    }
    start = 0
    for file in files:
        blocks = _parquet_blocks(file, fields) if file.suffix == ".parquet" else _npz_blocks(file, fields)
        for height, columns in blocks:
            for field in fields:
                target = matrices[field.matrix][
                    start : start + height, field.start : field.start + field.width
                ]
                values = columns[field.name]
                if field.is_history:
                    values = _last(values, height, field.width)
                if values.size != target.size:
                    raise RequestError(f"'{file}': rows of column '{field.name}' are not {field.width} long")
                target[:] = values.reshape(height, field.width)
            start += height
    return matrices


def _last(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """The last `width` entries of `height` lists of one length, 0 before the first of shorter ones."""
    length = values.size // height
    values = values[: height * length].reshape(height, length)[:, -width:]
    return np.pad(values, ((0, 0), (width - values.shape[1], 0)))


def data_files(path: Path) -> list[Path]:
    """The part files behind a path that FuxiCTR's loaders accept."""
    if path.is_dir():
        files = sorted(path.glob("*.parquet")) or sorted(path.glob("*.npz"))
    else:
        files = [place for place in (path, Path(f"{path}.npz"), Path(f"{path}.parquet")) if place.is_file()][
            :1
        ]
    if not files or files[0].suffix not in (".parquet", ".npz"):
        raise RequestError(f"'{path}' holds no encoded data (.parquet or .npz)")
    return files


def _rows(file: Path, fields: list[Field]) -> int:
    if file.suffix == ".npz":
        return len(_load_npz(file, fields)[fields[-1].name])
    parquet = _open_parquet(file)
    _check_columns(file, fields, parquet.schema_arrow.names)
    return parquet.metadata.num_rows


def _parquet_blocks(file: Path, fields: list[Field]):
    try:
        names = [field.name for field in fields]
        for batch in _open_parquet(file).iter_batches(BLOCK_ROWS, columns=names):
            yield batch.num_rows, {field.name: _values(batch.column(field.name), field) for field in fields}
    except (pa.ArrowException, OSError) as error:
        raise RequestError(f"'{file}' is damaged: {error}") from error


def _values(column: pa.Array, field: Field) -> np.ndarray:
    flat = column.flatten() if field.is_list else column
    return flat.to_numpy(zero_copy_only=False)


def _open_parquet(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise RequestError(f"'{file}' is no parquet file or is cut off: {error}") from error


def _npz_blocks(file: Path, fields: list[Field]):
    arrays = _load_npz(file, fields)
    yield len(arrays[fields[-1].name]), {field.name: arrays[field.name] for field in fields}


def _load_npz(file: Path, fields: list[Field]) -> Any:
    try:
        arrays = np.load(file)  # a pickle inside is refused
        _check_columns(file, fields, arrays.files)
        return arrays
    except (OSError, ValueError) as error:
        raise RequestError(f"'{file}' is no npz file of arrays: {error}") from error


def _check_columns(file: Path, fields: list[Field], names: list[str]) -> None:
    missing = [field.name for field in fields if field.name not in names]
    if missing:
        raise RequestError(f"'{file}' has no column '{name}'.{nearest(name, names)}" for name in missing)
