"""Lists of different length as the rows of a matrix, and a matrix as a column of lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fuxictr_qnn.data.vocabulary import PAD


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
