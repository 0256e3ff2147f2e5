"""Whether encoded rows and their histories fit the item table and the vocabularies. Nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fuxictr_qnn.data.items.columns import some
from fuxictr_qnn.data.spec import ITEM_HISTORY, ITEM_KEY, DatasetSpec
from fuxictr_qnn.errors import nearest

BLOCK_ROWS = 250_000


def row_problems(spec: DatasetSpec, split: str, file: Path, items: int | None) -> list[str]:
    """Sentences about what is wrong with one file of encoded rows.

    Args:
        spec: a dataset with an item table.
        split: train, valid or test.
        items: rows of the item table; None where it could not be read: then vocab_size stands in.

    Checked are the ids of every column with a vocabulary, the item ids of rows (1 to items - 1) and of
    histories (0, the padding, too), and that histories are lists of one length, padded on the left.
    """
    place = f"{split}_data: '{file}'"
    try:
        parquet = pq.ParquetFile(file)
        checks = _checks(spec, items)
        known = parquet.schema_arrow.names
        missing = [name for name in checks if name not in known]
        if missing:
            return [f"{place} has no column '{name}'.{nearest(name, known)}" for name in missing]
        for batch in parquet.iter_batches(BLOCK_ROWS, columns=list(checks)):
            for name, check in checks.items():
                check.add(batch.column(name))
    except (pa.ArrowException, OSError) as error:
        return [f"{place} is no parquet file or is cut off: {str(error).splitlines()[0]}"]
    return [
        f"{place}: column '{name}' {problem}"
        for name, check in checks.items()
        for problem in check.problems()
    ]


def _checks(spec: DatasetSpec, items: int | None) -> dict[str, _Ids]:
    """The check of each column, by name."""
    sizes = {column.name: column.vocab_size for column in spec.active_columns if column.has_vocabulary}
    of_items = {column.name for column in spec.item_columns}
    checks: dict[str, _Ids] = {
        name: _Ids(0, size, f"its vocab_size, {size}") for name, size in sizes.items() if name not in of_items
    }
    end = items or sizes[ITEM_KEY]
    allowed = (
        f"the item table, whose ids are 1 to {end - 1}" if items else f"the vocab_size of {ITEM_KEY}, {end}"
    )
    checks[ITEM_KEY], checks[ITEM_HISTORY] = _Ids(1, end, allowed), _History(0, end, allowed)
    return checks


@dataclass
class _Ids:
    """Gathers, block by block, the ids that are not in [low, high), nulls, and columns of a wrong type."""

    low: int
    high: int
    allowed: str  # the end of "outside ..."
    outside: int = 0
    examples: set[int] = field(default_factory=set)
    nulls: int = 0
    wrong_type: str = ""

    def add(self, values: pa.Array) -> None:
        self.nulls += values.null_count
        if _is_list(values.type):
            values = values.flatten()
            self.nulls += values.null_count
        self._add_ids(values)

    def _add_ids(self, values: pa.Array) -> None:
        if not pa.types.is_integer(values.type):
            self.wrong_type = str(values.type)
        elif len(values) > values.null_count:
            limits = pc.min_max(values).as_py()
            if limits["min"] < self.low or limits["max"] >= self.high:
                ids = values.drop_null().to_numpy()
                ids = ids[(ids < self.low) | (ids >= self.high)]
                self.outside += len(ids)
                self.examples = set(sorted(self.examples | set(np.unique(ids)[:4].tolist()))[:4])

    def problems(self) -> list[str]:
        """Ends of sentences."""
        if self.wrong_type:
            return [f"holds {self.wrong_type}, but encoded ids are integers"]
        found = [f"has no value in {self.nulls} places"] if self.nulls else []
        if self.outside:
            found.append(f"holds {self.outside} ids outside {self.allowed}: {some(sorted(self.examples))}")
        return found


@dataclass
class _History(_Ids):
    """Ids in lists: their lengths must not differ, and padding comes before the items only."""

    shortest: int = np.iinfo(np.int64).max
    longest: int = 0
    not_left: int = 0

    def add(self, values: pa.Array) -> None:
        if not _is_list(values.type):
            self.wrong_type = f"{values.type} instead of lists"
            return
        super().add(values)
        lengths = pc.min_max(pc.list_value_length(values)).as_py()
        self.shortest = min(self.shortest, lengths["min"] or 0)
        self.longest = max(self.longest, lengths["max"] or 0)
        if self.shortest == self.longest > 0 and not self.nulls and not self.wrong_type:
            ids = values.flatten().to_numpy().reshape(len(values), -1)
            after_item = (ids[:, :-1] != 0) & (ids[:, 1:] == 0)
            self.not_left += int(after_item.any(axis=1).sum())

    def problems(self) -> list[str]:
        found = super().problems()
        if self.shortest < self.longest:
            found.append(
                f"is ragged: its lists are {self.shortest} to {self.longest} long; pad them with 0 on "
                "the left to one length"
            )
        elif self.not_left:
            found.append(
                f"has {self.not_left} histories with 0 after an item: 0 is padding and belongs on the left, "
                "the latest item on the right"
            )
        return found


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
