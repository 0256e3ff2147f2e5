"""Encoded data as FuxiCTR 1.x and 2.0 wrote it: HDF5 files in one of two layouts.

    one matrix   a single dataset "data" (rows, columns): every feature in the order of the feature map
                 (or where its `index` says), a sequence over max_len columns, then the labels; all of one
                 type, mostly float64
    columns      a dataset for each feature and label, under its name: (rows,) or, for lists, (rows, width)

Which one a file has is seen from the file; releases differ. Both are reconstructed from what is known of
FuxiCTR's `save_hdf5(array, path, key="data")` and `create_dataset(name, data=column)`: no file of that time
was at hand. Splits in parts are files `train_part_0.h5`, `train_part_1.h5` ..., in the order of the number.
Pickles that lie beside them (feature_encoder.pkl) are never opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fuxictr_qnn.errors import RequestError, nearest

PIECE_ROWS = 65_536  # rows that are read together
_MATRIX = "data"


@dataclass(frozen=True)
class H5Column:
    """A column of a feature map: its name, its width, and where it is in a matrix.

    `columns` counts from the left, or, where negative, from the right end (labels).
    """

    name: str
    columns: list[int]

    @property
    def width(self) -> int:
        return len(self.columns)


def columns_of(features: dict[str, dict[str, Any]], labels: list[str]) -> list[H5Column]:
    """All features with their `index`, and the labels, which are a matrix's last columns."""
    found = [H5Column(name, feature["index"]) for name, feature in features.items()]
    return found + [H5Column(label, [at - len(labels)]) for at, label in enumerate(labels)]


def part_number(file: Path) -> tuple[int, str]:
    """Sorts train_part_2.h5 before train_part_10.h5."""
    number = re.search(r"(\d+)$", file.stem)
    return int(number[1]) if number else -1, file.name


def check_h5(file: Path, features: dict[str, dict[str, Any]], labels: list[str]) -> list[str]:
    """What keeps a file from being the data of this feature map, from its keys and shapes alone."""
    columns = columns_of(features, labels)
    try:
        with _open(file) as source:
            datasets = {name: item for name, item in source.items() if hasattr(item, "shape")}
            if not datasets:
                return [f"'{file}' holds no dataset: expected '{_MATRIX}' or one for each column"]
            if (matrix := _matrix_key(datasets, columns)) is not None:
                return _matrix_problems(file, matrix, datasets[matrix], columns)
            return _column_problems(file, datasets, columns)
    except RequestError as error:
        return error.problems


def _matrix_key(datasets: Any, columns: Iterable[H5Column]) -> str | None:
    """The name of the one matrix; None where every column is a dataset of its own."""
    if _MATRIX in datasets and not any(column.name == _MATRIX for column in columns):
        return _MATRIX
    (only, *others) = datasets
    return only if not others and len(datasets[only].shape) == 2 else None


def _matrix_problems(file: Path, name: str, matrix: Any, columns: list[H5Column]) -> list[str]:
    wanted = sum(column.width for column in columns)
    if matrix.dtype.kind not in "iufb":
        return [f"'{file}': dataset '{name}' holds {matrix.dtype}, not numbers"]
    if len(matrix.shape) != 2 or matrix.shape[1] != wanted:
        labels = [column.name for column in columns if column.columns[0] < 0]
        return [
            f"'{file}': dataset '{name}' has the shape {matrix.shape}; feature_map.json describes rows of "
            f"{wanted} columns, {wanted - len(labels)} of features and then {', '.join(labels)}"
        ]
    return [] if len(matrix) else [f"'{file}' has no rows"]


def _column_problems(file: Path, datasets: dict[str, Any], columns: list[H5Column]) -> list[str]:
    problems = []
    rows = next((len(datasets[column.name]) for column in columns if column.name in datasets), 0)
    for column in columns:
        if column.name not in datasets:
            is_label = " label" if column.columns[0] < 0 else ""
            hint = nearest(column.name, datasets)
            problems.append(f"'{file}' has no dataset for the{is_label} column '{column.name}'.{hint}")
            continue
        found = datasets[column.name]
        lists = tuple(found.shape[1:])
        if found.dtype.kind not in "iufb":
            problems.append(f"'{file}': dataset '{column.name}' holds {found.dtype}, not numbers")
        elif lists != (column.width,) and not (lists == () and column.width == 1):
            problems.append(
                f"'{file}': dataset '{column.name}' has the shape {found.shape}; feature_map.json says "
                f"{column.width} a row"
            )
        elif len(found) != rows:
            problems.append(
                f"'{file}': dataset '{column.name}' has {len(found)} rows, the columns before it have {rows}"
            )
    return problems or ([] if rows else [f"'{file}' has no rows"])


class H5Rows:
    """Rows of one file, piece by piece.

    Args:
        columns: what to read; where a matrix has them comes along.

    Attributes:
        pieces: rows of each piece.

    Raises:
        RequestError: the file does not have the columns (see `check_h5`, which says it at once for all).
    """

    def __init__(self, file: Path, columns: list[H5Column]):
        self.file = file
        self._columns = columns
        with _open(file) as source:
            self._matrix = _matrix_key(source, columns) if len(source) else None
            known = [item.name for item in columns if item.columns] if self._matrix else list(source)
            missing = [item.name for item in columns if item.name not in known]
            if missing:
                raise RequestError(
                    f"'{file}' has no column '{name}'.{nearest(name, known)}" for name in missing
                )
            rows = len(source[self._matrix or columns[0].name])
        self.pieces = [min(PIECE_ROWS, rows - start) for start in range(0, rows, PIECE_ROWS)]

    def blocks(self, pieces: Iterable[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """For each piece the number of its rows, and its columns: (rows,) or (rows, width)."""
        with _open(self.file) as source:
            for piece in pieces:
                rows = slice(piece * PIECE_ROWS, piece * PIECE_ROWS + self.pieces[piece])
                try:
                    yield self.pieces[piece], self._read(source, rows)
                except (OSError, ValueError, IndexError) as error:
                    raise RequestError(f"'{self.file}' is damaged: {error}") from error

    def _read(self, source: Any, rows: slice) -> dict[str, np.ndarray]:
        if self._matrix is None:
            return {column.name: source[column.name][rows] for column in self._columns}
        block = source[self._matrix][rows]
        return {column.name: block[:, column.columns] for column in self._columns}


def _open(file: Path) -> Any:
    import h5py  # rarely needed, and slow to import

    try:
        return h5py.File(file, "r")
    except OSError as error:
        reason = str(error).split("\n")[0]
        raise RequestError(f"'{file}' is no HDF5 file or is cut off: {reason}") from error
