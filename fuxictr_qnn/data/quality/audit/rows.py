"""What an audit reads: the rows of all splits, block by block, and what their columns are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

# kinds of columns
VALUE, TOKENS, NUMBER, VECTOR, ID, HISTORY = "value", "tokens", "number", "vector", "id", "history"
KINDS = {"categorical": VALUE, "sequence": TOKENS, "numeric": NUMBER, "embedding": VECTOR, "meta": ID}


@dataclass(frozen=True)
class Column:
    """A column of the rows.

    Attributes:
        kind: how its cells are looked at: "value" and "id" (a meta column, which names a row's user ...
            and is no feature) as they are, "tokens" and "history" as lists, "number" by size, "vector" not.
        splitter: between the tokens of a text; None where the cells are lists, padded with 0.
        min_count: values that are rarer in training share the id for unknown ones.
        whole_cells: tokens get the ids of equal uncut cells (the config's count_whole_cells).
        bucketed: its values get the ids of buckets, and none is unknown.
    """

    name: str
    kind: str
    splitter: str | None = None
    min_count: int = 1
    whole_cells: bool = False
    bucketed: bool = False


@dataclass(frozen=True)
class Rows:
    """Some rows of a split.

    Attributes:
        frame: features, meta columns and labels.
        missing: which cells are empty, of the columns that the file holds as such.
        times: as they stand in the file.
    """

    frame: pl.DataFrame
    missing: dict[str, np.ndarray]
    times: pl.Series | None

    def of(self, mask: np.ndarray | None) -> Rows:
        """Those where the mask is true; all for None."""
        if mask is None:
            return self
        chosen = pl.Series(mask)
        missing = {name: cells[mask] for name, cells in self.missing.items()}
        times = None if self.times is None else self.times.filter(chosen)
        return Rows(self.frame.filter(chosen), missing, times)


@dataclass(frozen=True)
class Opened:
    """A dataset ready to be read.

    Attributes:
        splits: split -> where its rows are from, as a message names it: the same text for the same file.
        columns: features and meta columns.
        label: the first label; `other_labels` are the rest.
        group, time: columns that name a row's group (group_id, user_col) and its time.
        blocks: reads everything once, in the files' order: (split, some of its rows).
    """

    splits: dict[str, str]
    columns: list[Column]
    label: str
    other_labels: list[str]
    group: str | None
    time: str | None
    blocks: Callable[[], Iterator[tuple[str, Rows]]]
