"""Encoded rows to try an exported model on: of the run's own validation data, else made up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fuxictr_qnn.data.encoded.folder import find_data
from fuxictr_qnn.data.loaders.storage import Field, empty_matrices, fill, open_parts, widths
from fuxictr_qnn.data.places import Places, user_cache
from fuxictr_qnn.data.simulated.simulation import find_simulated
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.saved import SavedRun
from fuxictr_qnn.serving.graph import DTYPES

COUNT = 2000


class TrialRows(NamedTuple):
    """Rows as the exported model takes them.

    Attributes:
        matrices: ids (B, ...) int64, numbers (B, ...) float32.
        origin: where they are from, for people.
        real: whether they are data.
    """

    matrices: dict[str, np.ndarray]
    origin: str
    real: bool


def trial_rows(run: SavedRun, feature_map: Any, fields: Sequence[Field], places: Places) -> TrialRows:
    """Up to COUNT rows: the first ones of the validation split where the run's build is found."""
    for path in _validation_data(run, places):
        try:
            matrices = _read(path, list(fields))
        except RequestError:  # it has changed since the run
            continue
        if matrices is not None:
            return TrialRows(matrices, "validation split", True)
    return TrialRows(made_up(feature_map, fields, COUNT), "made up: ids and numbers at random", False)


def made_up(feature_map: Any, fields: Sequence[Field], rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random ids of each field, padding included, and numbers."""
    rng = np.random.default_rng(seed)
    items = len(next(iter(getattr(feature_map, "item_table", {}).values()), ()))
    matrices = {name: np.empty((rows, width), DTYPES[name]) for name, width in widths(list(fields)).items()}
    for field in fields:
        shape, at = (rows, field.width), slice(field.start, field.start + field.width)
        size = (
            items
            if field.size is None or field.name == getattr(feature_map, "item_key", None)
            else field.size
        )
        if field.matrix == "numbers":
            matrices["numbers"][:, at] = rng.normal(size=shape)
        else:
            matrices["ids"][:, at] = rng.integers(size, size=shape)
    return matrices


def _validation_data(run: SavedRun, places: Places) -> Iterator[Path]:
    """Where the encoded validation data of the run may lie."""
    spec = run.dataset
    if spec.generator and (spec := find_simulated(spec, places)) is None:
        return
    if spec.is_encoded:
        if path := find_data(spec, places, []).get("valid"):
            yield path
        return
    build = f"built-{run.metrics.get('data_fingerprint')}"
    for root in filter(None, (places.build_dir, places.data_root, user_cache())):
        path = root / spec.dataset_id / build / "valid.parquet"
        if path.is_file():
            yield path


def _read(path: Path, fields: list[Field]) -> dict[str, np.ndarray] | None:
    """The first rows of a split, None where it has none; only its first pieces are read."""
    parts = open_parts(path, fields)
    matrices, filled = empty_matrices(COUNT, fields), 0
    for part in parts:
        for height, columns in part.blocks(range(len(part.pieces))):
            taken = min(height, COUNT - filled)
            head = {name: values[: len(values) // height * taken] for name, values in columns.items()}
            fill(matrices, filled, taken, head, fields, part.file)
            filled += taken
            if filled == COUNT:
                return _typed(matrices, filled)
    return _typed(matrices, filled) if filled else None


def _typed(matrices: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(matrix[:rows], DTYPES[name]) for name, matrix in matrices.items()}
