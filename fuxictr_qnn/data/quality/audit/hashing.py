"""Cells and rows as 64-bit numbers that look random, the same ones in every run."""

from __future__ import annotations

import numpy as np
import polars as pl

SEED = 2019
NEGATIVE, POSITIVE, NO_LABEL, OTHER_LABEL = range(4)  # the two lowest bits of a row's key


def cell_hashes(frame: pl.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    """A hash of each cell of the named columns; missing cells have one of their own."""
    hashed = frame.lazy().select(pl.col(name).hash(SEED) for name in names).collect()
    return {name: hashed[name].to_numpy() for name in names}


def mixed(x: np.ndarray) -> np.ndarray:
    """splitmix64's last steps: every bit of the result depends on every bit of x (uint64)."""
    x = x ^ (x >> np.uint64(30))
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def together(hashes: list[np.ndarray], rows: int) -> np.ndarray:
    """One hash for each row of several columns, in their order."""
    key = np.full(rows, SEED, np.uint64)
    for cells in hashes:
        key = mixed(key * np.uint64(0x9E3779B97F4A7C15) + cells)
    return key


def numbered(first: int, rows: int, stream: int) -> np.ndarray:
    """A random number for each of the rows first, first + 1 ...; other streams are independent."""
    numbers = np.arange(first, first + rows, dtype=np.uint64)
    return mixed(mixed(numbers + np.uint64(stream << 56)) + np.uint64(SEED))


def row_keys(features: np.ndarray, label: np.ndarray) -> np.ndarray:
    """62 bits of the features' hash above two bits of the label, so that both are compared in 8 bytes.

    Args:
        features: hashes of the rows' features, shape (rows,).
        label: float64, nan where it is missing. A label other than 0 and 1 is part of the hash.
    """
    code = np.full(len(label), OTHER_LABEL, np.uint64)
    code[label == 0], code[label == 1], code[np.isnan(label)] = NEGATIVE, POSITIVE, NO_LABEL
    other = code == OTHER_LABEL
    if other.any():
        features = np.where(other, mixed(features ^ label.view(np.uint64)), features)
    return (features & ~np.uint64(3)) | code
