"""The users of the test rows, so that the bootstrap can draw all rows of a user together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.data.lookup import build_named
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.files import RunFiles
from fuxictr_qnn.runs.run import Run
from fuxictr_qnn.training.token_rows import read_tokens


@dataclass(frozen=True)
class Users:
    """Who the test rows are of.

    Attributes:
        numbers: (N,), from 0 on, of each row's user; None where they are not known.
        note: a sentence without its full stop on what the numbers do not say.
    """

    numbers: np.ndarray | None = None
    note: str = ""


def users_of(runs: Iterable[Run], places: Places) -> Users:
    """The users of the test rows that these runs share, by `user_col` of their dataset, read from its build.

    Users that training hardly saw share an id: each of their rows counts as a user of its own.

    Args:
        places: where raw data and builds lie.
    """
    columns = {column: run.data for run in runs if (column := user_column(run)) is not None}
    if not columns:
        return Users()
    if len(columns) > 1:
        several = ", ".join(sorted(columns))
        return Users(
            note=f"The rows were drawn one by one: the runs name several columns of users ({several})"
        )
    ((column, (dataset_id, fingerprint)),) = columns.items()
    folder = build_named(fingerprint, dataset_id, places)
    if folder is None:
        return Users(
            note=f"The rows were drawn one by one, not by {column}: the build of {dataset_id} that names the "
            "users is not in these places (--data-root, --build-dir)"
        )
    ids = pq.read_table(folder / "test.parquet", columns=[column])[column].to_numpy().astype(np.int64)
    nameless = np.isin(ids, list(_special_ids(folder, column)))
    ids[nameless] = -1 - np.arange(nameless.sum())
    note = (
        f"{nameless.sum():,} of {len(ids):,} test rows are of users without an id of their own; each of "
        "these rows was drawn by itself"
    )
    return Users(np.unique(ids, return_inverse=True)[1], note if nameless.any() else "")


def user_column(run: Run) -> str | None:
    """The column that names the users: what the run says, else the installed dataset of the same name.

    Runs of early versions do not say. A dataset of somebody's own may have the same name and other columns.
    """
    dataset = DatasetSpec.model_validate(run.experiment["dataset"])
    if dataset.is_encoded:
        return None
    if "user_col" in RunFiles(run.folder).config["experiment"]["dataset"]:
        return dataset.user_col
    try:
        installed = load_dataset(dataset.dataset_id).spec.user_col
    except RequestError:  # not one of them
        return None
    return installed if installed in [column.name for column in dataset.active_columns] else None


def _special_ids(folder: Path, column: str) -> set[int]:
    """The ids of padding and of values out of vocabulary; none for a column that is kept as it is."""
    vocabulary = read_tokens(folder / "feature_vocab.json").get(column)
    return set(vocabulary.special.values()) if vocabulary else set()
