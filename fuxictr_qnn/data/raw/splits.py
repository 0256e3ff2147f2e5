"""train_data divided into splits by valid_size and test_size: which of its rows are whose.

`sequential`  the last rows of the file(s) are the test split, those before them the validation split.
`random`      rows drawn by a seeded permutation (NumPy's RandomState, whose stream never changes).
`temporal`    the latest rows by time_col; rows of one moment stay together, in the later split, which then
              has more rows than asked for.
`per_user`    the same of each user (split_by, else group_id) by time_col, without it in the file's order;
              ties are broken by the file's order. A row count is a count per user. A user who would have no
              row left to train on stays in training whole, and so do rows without a user.

A size below 1 is a fraction, rounded half up, of all rows (per_user: of the user's rows), else a row count.
Within a split the rows keep the file's order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from fuxictr_qnn.data.dataset import SPLITS
from fuxictr_qnn.data.raw.reading import Block, RawFiles
from fuxictr_qnn.data.raw.times import REMEDY, Times
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest, shown

TRAIN, VALID, TEST = range(len(SPLITS))


@dataclass(frozen=True)
class Source:
    """The raw files that one key of the config names, and to which splits their rows go.

    Attributes:
        split: the split whose key names them: "train" for train_data.
        files: their rows.
        codes: (rows,) int8, for each row the index of its split in SPLITS; None: all are of `split`.
    """

    split: str
    files: RawFiles
    codes: np.ndarray | None = None

    def weight_of(self, spec: DatasetSpec) -> list[str]:
        """The raw column with the weights: only training rows have any."""
        return [spec.weight_col] if spec.weight_col and self.split == "train" else []

    def blocks(self, columns: list[str]) -> Iterator[tuple[Block, dict[str, np.ndarray | None]]]:
        """Blocks of raw rows, each with its parts."""
        start = 0
        for block in self.files.blocks(list(dict.fromkeys(columns))):
            yield block, self.parts(start, block.frame.height)
            start += block.frame.height

    def parts(self, start: int, height: int) -> dict[str, np.ndarray | None]:
        """The splits that `height` rows from row `start` belong to: split -> mask (height,); None: all."""
        if self.codes is None:
            return {self.split: None}
        codes = self.codes[start : start + height]
        return {SPLITS[code]: codes == code for code in np.unique(codes)}


def find_sources(spec: DatasetSpec, files: dict[str, RawFiles]) -> list[Source]:
    """The sources of a build, train_data first and divided if the config says so.

    Raises:
        RequestError: see `divide`.
    """
    codes = divide(spec, files["train"]) if spec.divided else None
    return [Source(split, raw, codes if split == "train" else None) for split, raw in files.items()]


def divide(spec: DatasetSpec, files: RawFiles) -> np.ndarray:
    """The split of each row of train_data: (rows,) int8, indices in SPLITS.

    Raises:
        RequestError: an unknown time_col or split_by, a time that is missing or cannot be ordered, a split
            without rows.
    """
    needed = _needed(spec, files.schema())
    files = files.with_texts(needed.values())  # the first rows' type would make 7 and 007 one user
    times = Times()
    parts: dict[str, list] = {"time": [], "user": []}
    rows = 0
    for block in files.blocks(list(needed.values()) or files.schema().names()[:1]):
        rows += block.frame.height
        if "time" in needed:
            parts["time"].append(_times(block, needed["time"], times))
        if "user" in needed:
            parts["user"].append(block.frame[needed["user"]])
    if not rows:
        raise RequestError(f"train_data: '{files.files[0]}' has no rows")
    time = np.concatenate(parts["time"]) if parts["time"] else np.arange(rows)
    valid, test = spec.valid_size, spec.test_size
    if spec.split_type == "temporal":
        codes = _by_time(time, valid, test)
    elif spec.split_type == "per_user":
        codes = _per_user(_user_codes(parts["user"]), time, valid, test)
    else:
        order = np.arange(rows)[::-1]
        if spec.split_type == "random":
            order = np.random.RandomState(spec.split_seed).permutation(rows)
        codes = _first_of(order, valid, test)
    _refuse_empty(spec, codes)
    return codes


def _needed(spec: DatasetSpec, schema: pl.Schema) -> dict[str, str]:
    """The columns to read: "time" and "user" -> name."""
    wanted = {}
    if spec.split_type in ("temporal", "per_user") and spec.time_col:
        wanted["time"] = ("time_col", spec.time_col)
    if spec.split_type == "per_user":
        wanted["user"] = ("split_by" if spec.split_by else "group_id", spec.split_column)
    missing = [(key, name) for key, name in wanted.values() if name not in schema]
    if missing:
        raise RequestError(
            f"train_data has no column '{name}' ({key}).{nearest(name, schema)}" for key, name in missing
        )
    return {kind: name for kind, (_, name) in wanted.items()}


def _times(block: Block, name: str, times: Times) -> np.ndarray:
    """Numbers that order the rows in time."""
    values = times.read(block.frame[name])
    if not values.dtype.is_numeric():
        raise RequestError(
            f"'{block.file}': time_col '{name}' holds {values.dtype}, which has no order in time: {REMEDY}"
        )
    wrong = values.is_null() if values.dtype.is_integer() else ~values.is_finite().fill_null(False)
    if wrong.any():
        at = wrong.arg_max()
        cell = block.frame[name][at]
        reason = "is missing" if cell in (None, "") else f"is {shown(cell)}, which cannot be ordered in time"
        raise RequestError(f"{block.place(at)}: time_col '{name}' {reason}: {REMEDY}, or remove the row")
    return values.to_numpy()


def _count(size: float | None, rows: np.ndarray | int) -> np.ndarray | int:
    """How many of `rows` a size means."""
    if size is None:
        return rows * 0
    if isinstance(size, int):
        return rows * 0 + size
    return np.floor(np.asarray(rows) * size + 0.5).astype(np.int64)


def _first_of(order: np.ndarray, valid: float | None, test: float | None) -> np.ndarray:
    """The first rows of an order are the test split, the next ones the validation split."""
    rows = len(order)
    tested, validated = _count(test, rows), _count(valid, rows)
    codes = np.full(rows, TRAIN, np.int8)
    codes[order[:tested]] = TEST
    codes[order[tested : tested + validated]] = VALID
    return codes


def _by_time(time: np.ndarray, valid: float | None, test: float | None) -> np.ndarray:
    rows = len(time)
    ordered = np.sort(time)
    codes = np.full(rows, TRAIN, np.int8)
    left = rows  # the rows before the splits that are cut off already
    for size, code in ((test, TEST), (valid, VALID)):
        if asked := _count(size, rows):
            first = ordered[max(left - asked, 0)]
            codes[(time >= first) & (codes == TRAIN)] = code
            left = int(np.searchsorted(ordered, first))
    return codes


def _user_codes(parts: list[pl.Series]) -> np.ndarray:
    """Users as numbers; -1 where there is none."""
    users = pl.concat((part.to_frame("user") for part in parts), how="vertical_relaxed")["user"]
    users = users.replace("", None) if users.dtype == pl.String else users
    users = users.fill_nan(None) if users.dtype.is_float() else users
    return users.rank("dense").cast(pl.Int64).fill_null(-1).to_numpy()


def _per_user(users: np.ndarray, time: np.ndarray, valid: float | None, test: float | None) -> np.ndarray:
    order = np.lexsort((time, users))
    _, starts, rows = np.unique(users[order], return_index=True, return_counts=True)
    tested, validated = _count(test, rows), _count(valid, rows)
    kept = (tested + validated >= rows) | (users[order][starts] < 0)
    tested, validated = np.where(kept, 0, tested), np.where(kept, 0, validated)
    from_end = np.repeat(starts + rows, rows) - np.arange(len(users)) - 1
    tested, validated = np.repeat(tested, rows), np.repeat(validated, rows)
    codes = np.full(len(users), TRAIN, np.int8)
    codes[order] = np.where(from_end < tested, TEST, np.where(from_end < tested + validated, VALID, TRAIN))
    return codes


def _refuse_empty(spec: DatasetSpec, codes: np.ndarray) -> None:
    """Every split must have rows."""
    sizes = np.bincount(codes, minlength=len(SPLITS))
    asked = ", ".join(f"{split}_size {size}" for split, size in spec.divided.items())
    empty = [
        split for code, split in enumerate(SPLITS) if split in ("train", *spec.divided) and not sizes[code]
    ]
    if empty:
        raise RequestError(
            f"{spec.source or spec.dataset_id}: {asked} ({spec.split_type}): of the {len(codes)} rows in "
            f"train_data none is left for {' and '.join(empty)}: choose other sizes"
        )
