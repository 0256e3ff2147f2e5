"""One pass over every split: what all checks stand on.

In memory at once: 8 bytes a row (keys of rows), 24 bytes for every different value of every feature in
each split, and the samples.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.quality.audit.constancy import Constancy
from fuxictr_qnn.data.quality.audit.counts import Counts
from fuxictr_qnn.data.quality.audit.hashing import SEED, cell_hashes, numbered, row_keys, together
from fuxictr_qnn.data.quality.audit.rows import (
    HISTORY,
    ID,
    NUMBER,
    TOKENS,
    VALUE,
    VECTOR,
    Column,
    Opened,
    Rows,
)
from fuxictr_qnn.data.quality.audit.sample import Sample
from fuxictr_qnn.data.quality.audit.times import Times
from fuxictr_qnn.data.spec import ITEM_HISTORY, ITEM_KEY
from fuxictr_qnn.data.vocabulary import split_tokens
from fuxictr_qnn.errors import RequestError

USER_NAMES = ("user_id", "userid", "user", "uid", "msno", "member_id", "customer_id")
ITEM_IN_HISTORY = f"{ITEM_KEY} in {ITEM_HISTORY}"
LENGTH = f"length of {ITEM_HISTORY}"


@dataclass
class Split:
    """What one split holds.

    Attributes:
        keys: of its rows, sorted (hashing.row_keys).
        positives, no_label: rows.
        empty: missing cells of each column, where the file can tell.
        infinite: cells with a number that is infinite, or too large to be one, of the columns that have such.
        counts: of each column's cells (but of numbers and vectors), and of what is derived from them.
        tokens: of each list's tokens; counted by occurrence, with the label of their row.
        sample: of its rows: hashes of cells, numbers as float64, "label" as bool.
    """

    rows: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    positives: int = 0
    no_label: int = 0
    empty: dict[str, int] = field(default_factory=dict)
    infinite: dict[str, int] = field(default_factory=dict)
    counts: dict[str, pl.DataFrame] = field(default_factory=dict)
    tokens: dict[str, pl.DataFrame] = field(default_factory=dict)
    sample: Sample = field(default_factory=lambda: Sample(0))
    times: Times | None = None


@dataclass
class Gathered:
    """Everything that the checks see.

    Attributes:
        user: the column that names a row's user, None where there is none; `user_guessed` by its name.
        cut: labels above it count as positive; 0.5 where they are 0 and 1.
        constant_in_user: columns that never change within a user of training, and the users looked at.
    """

    data: Opened
    splits: dict[str, Split]
    user: str | None
    user_guessed: bool
    cut: float
    constant_in_user: tuple[list[str], int]

    @property
    def others(self) -> dict[str, Split]:
        """The splits that are not trained on."""
        return {name: split for name, split in self.splits.items() if name != "train"}

    def columns(self, *kinds: str) -> list[Column]:
        return [column for column in self.data.columns if column.kind in kinds]


def gather(data: Opened, sample: int, log: Log) -> Gathered:
    """Read all splits once.

    Raises:
        RequestError: cells that do not parse, damaged files, splits without rows.
    """
    user, guessed = _user(data)
    constancy = Constancy(user, [column.name for column in data.columns]) if user else None
    reader = _Reader(data, sample, constancy)
    said = time.monotonic()
    for split, rows in data.blocks():
        if rows.frame.height:  # a file may hold a header only
            reader.add(split, rows)
        if time.monotonic() - said > 10:
            log(f"{split}: {reader.splits[split].rows:,} rows so far")
            said = time.monotonic()
    splits = reader.close()
    log("read " + ", ".join(f"{split.rows:,} rows of {name}" for name, split in splits.items()))
    found = constancy.result() if constancy else ([], 0)
    return Gathered(data, splits, user, guessed, reader.cut or 0.0, found)


def _user(data: Opened) -> tuple[str | None, bool]:
    if data.group:
        return data.group, False
    lower = {column.name.lower(): column.name for column in data.columns if column.kind in (VALUE, ID)}
    return next(((lower[name], True) for name in USER_NAMES if name in lower), (None, False))


class _Reader:
    """Takes in blocks of rows, and has a `Split` of each split in the end."""

    def __init__(self, data: Opened, sample: int, constancy: Constancy | None):
        self._data, self._constancy = data, constancy
        self.cut: float | None = None
        self._has_history = {ITEM_KEY, ITEM_HISTORY} <= {column.name for column in data.columns}
        self.splits = {
            name: Split(sample=Sample(sample), times=Times(data.time) if data.time else None)
            for name in data.splits
        }
        self._cells: dict[str, dict[str, Counts]] = {name: {} for name in data.splits}
        self._tokens: dict[str, dict[str, Counts]] = {name: {} for name in data.splits}
        self._keys: dict[str, list[np.ndarray]] = {name: [] for name in data.splits}

    def close(self) -> dict[str, Split]:
        """What was found.

        Raises:
            RequestError: splits without rows.
        """
        empty = [name for name, split in self.splits.items() if not split.rows]
        if empty:
            raise RequestError(f"{name}_data: '{self._data.splits[name]}' has no rows" for name in empty)
        for name, split in self.splits.items():
            split.keys = np.concatenate(self._keys.pop(name))
            split.keys.sort()
            split.counts = {column: counts.table() for column, counts in self._cells.pop(name).items()}
            split.tokens = {column: counts.table() for column, counts in self._tokens.pop(name).items()}
            split.sample.close()
        return self.splits

    def add(self, split: str, rows: Rows) -> None:
        """Count a block in."""
        found, cells, tokens = self.splits[split], self._cells[split], self._tokens[split]
        frame, first, height = rows.frame, found.rows, rows.frame.height
        label = frame[self._data.label].cast(pl.Float64, strict=False).to_numpy(writable=True)
        if self.cut is None:
            self.cut = _cut(label)
        positive = label > self.cut  # nan is not
        half = (numbered(first, height, stream=0) & np.uint64(1)).astype(bool)
        found.rows += height
        found.positives += int(positive.sum())
        found.no_label += int(np.isnan(label).sum())
        for name, empty in rows.missing.items():
            found.empty[name] = found.empty.get(name, 0) + int(empty.sum())
        names = [column.name for column in self._data.columns]
        for name in (*names, self._data.label):
            if count := _infinite(frame[name]):
                found.infinite[name] = found.infinite.get(name, 0) + count

        hashes = cell_hashes(frame, [*names, *self._data.other_labels])
        sampled = {"label": positive}
        for column in self._data.columns:
            if column.kind == NUMBER:
                sampled[column.name] = frame[column.name].cast(pl.Float64, strict=False).to_numpy()
                sampled[f"hash of {column.name}"] = hashes[column.name]
                continue
            sampled[column.name] = hashes[column.name]
            if column.kind == VECTOR:
                continue
            if column.kind != HISTORY:
                cells.setdefault(column.name, Counts()).add(hashes[column.name], half, positive)
            if column.kind in (TOKENS, HISTORY):
                values, lengths = _tokens(frame[column.name], column)
                counts = tokens.setdefault(column.name, Counts())
                if column.kind == HISTORY:
                    counts.add_cells(values)
                else:
                    row = np.repeat(np.arange(height), lengths)
                    counts.add(values.hash(SEED).to_numpy(), half[row], positive[row])
        for name, values in self._derived(frame).items():
            cells.setdefault(name, Counts()).add(values, half, positive)
            sampled[name] = values
        found.sample.add(first, sampled)
        if found.times and rows.times is not None:
            found.times.add(rows.times, first)
        if self._constancy and split == "train":
            self._constancy.add(hashes)
        self._keys[split].append(row_keys(together(list(hashes.values()), height), label))

    def _derived(self, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """What a history shows without a model: whether it holds the row's item, and how long it is."""
        if not self._has_history:
            return {}
        history, item = frame[ITEM_HISTORY], frame[ITEM_KEY]
        if isinstance(history.dtype, pl.Array):
            history = history.arr.to_list()
        both = pl.DataFrame({"history": history, "item": item.cast(history.dtype.inner, strict=False)})
        values = both.select(
            holds=pl.col("history").list.contains(pl.col("item")).fill_null(False),
            length=(pl.col("history").list.len() - pl.col("history").list.count_matches(0)).fill_null(0),
        )
        return {
            ITEM_IN_HISTORY: values["holds"].hash(SEED).to_numpy(),
            LENGTH: values["length"].hash(SEED).to_numpy(),
        }


def _cut(label: np.ndarray) -> float | None:
    """What separates positives: 0.5 for labels 0 and 1, the mean of the first rows for others."""
    known = label[~np.isnan(label)]
    if not len(known):
        return None
    return 0.5 if np.isin(known, (0, 1)).all() else float(known.mean())


def _infinite(cells: pl.Series) -> int:
    """Cells, or numbers in lists, that are infinite."""
    if isinstance(cells.dtype, (pl.List, pl.Array)):
        cells = cells.explode() if cells.dtype.inner.is_float() else cells
    return int(cells.is_infinite().sum()) if cells.dtype.is_float() else 0


def _tokens(cells: pl.Series, column: Column) -> tuple[pl.Series, np.ndarray]:
    """The tokens of all cells of lists or texts, one after another, and how many each cell has."""
    if column.splitter is not None:
        return split_tokens(cells.cast(pl.String).fill_null(""), column.splitter)
    lists = cells.arr.to_list() if isinstance(cells.dtype, pl.Array) else cells
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    return pl.from_arrow(lists.to_arrow().flatten()), lengths
