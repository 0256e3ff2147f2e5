"""Files as challenges want them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import polars as pl

from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.errors import RequestError


@dataclass(frozen=True)
class Submission:
    """What a challenge expects.

    Attributes:
        id: the column that numbers the rows; where the data has none, rows count from 0.
        score: the column of the predictions.
        member: the CSV file, alone and within `archive`.
        rows: of the challenge's own test file.
        encoded: whether that file holds ids already.
    """

    id: str
    score: str
    member: str
    archive: str
    rows: int
    encoded: bool


SUBMISSIONS = {
    # WWW 2025 EReL@MIR workshop, multimodal CTR challenge, task 2
    "microlens": Submission("ID", "Task2", "prediction.csv", "prediction.zip", 379_142, encoded=True),
}


class Ids:
    """The ids of a submission's rows, block by block: whole numbers, each once.

    Args:
        numbered: the file has none, so its rows are counted.
    """

    def __init__(self, form: Submission, numbered: bool):
        self._form, self._numbered, self._next = form, numbered, 0
        self._seen: list[np.ndarray] = []

    def of(self, block: Block, place: str) -> pl.Series:
        """The ids of a block.

        Raises:
            RequestError: ids that are missing or no whole numbers from 0 up.
        """
        start, self._next = self._next, self._next + block.frame.height
        if self._numbered:
            return pl.Series(self._form.id, np.arange(start, self._next))
        written = block.written(self._form.id)
        texts = written if written.dtype.is_integer() else written.cast(pl.String)  # cut off, 1.5 would be 1
        ids = texts.cast(pl.Int64, strict=False)
        wrong = ids.is_null() | (ids < 0)
        if wrong.any():
            at = wrong.arg_max()
            raise RequestError(
                f"{place}, row {start + at + 1}: {self._form.id} is {written[at]!r}: "
                "an id is a whole number from 0 up"
            )
        self._seen.append(ids.to_numpy())
        return ids

    def check(self, place: str) -> str | None:
        """RequestError for ids that stand twice; a note where the rows are not those of the challenge."""
        if self._seen:
            ids, counts = np.unique(np.concatenate(self._seen), return_counts=True)
            if (counts > 1).any():
                raise RequestError(
                    f"{place}: {self._form.id} {ids[counts.argmax()]} stands {counts.max()} times: "
                    "each row needs an id of its own"
                )
        if self._next != self._form.rows:
            known = f"the challenge's test file has {self._form.rows:,}"
            return f"{place} has {self._next:,} rows, but {known}: is it that file?"
        return None


def pack(form: Submission, file: Path, archive: Path) -> None:
    """Pack the CSV file as the challenge wants it uploaded."""
    with ZipFile(archive, "x", ZIP_DEFLATED) as packed:
        packed.write(file, form.member)
