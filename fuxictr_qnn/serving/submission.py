"""Files as challenges want them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import polars as pl

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import sync_file, sync_folder


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
    """The ids of a submission's rows, block by block: whole numbers, each once."""

    def __init__(self, form: Submission):
        self._form, self._next = form, 0
        self._seen: list[np.ndarray] = []

    def of(self, frame: pl.DataFrame, place: str) -> pl.Series:
        """The ids of a block.

        Raises:
            RequestError: ids that are missing or no whole numbers from 0 up.
        """
        start, self._next = self._next, self._next + frame.height
        if self._form.id not in frame.columns:
            return pl.Series(self._form.id, np.arange(start, self._next))
        written = frame[self._form.id]
        ids = written.cast(pl.Int64, strict=False)
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


def write_archive(form: Submission, folder: Path) -> Path:
    """Pack the CSV file of `folder` as the challenge wants it uploaded."""
    archive = folder / form.archive
    temporary = folder / f".{form.archive}.{uuid4().hex}"
    try:
        with ZipFile(temporary, "x", ZIP_DEFLATED) as packed:
            packed.write(folder / form.member, form.member)
        sync_file(temporary)
        os.replace(temporary, archive)
        sync_folder(folder)
    except OSError as error:
        raise RunError(f"writing '{archive}' failed: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return archive
