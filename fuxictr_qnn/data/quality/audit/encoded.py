"""Encoded files as frames: parquet, npz, and the h5 of FuxiCTR 1.x and 2.0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl

from fuxictr_qnn.data.encoded.folder import find_data, find_feature_map
from fuxictr_qnn.data.encoded.h5 import H5Rows, columns_of
from fuxictr_qnn.data.encoded.old_feature_map import is_old, translated
from fuxictr_qnn.data.loaders.storage import data_files
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.audit.rows import KINDS, NUMBER, VECTOR
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest


@dataclass(frozen=True)
class EncodedFiles:
    """The files of each split, and what is in them.

    Attributes:
        kinds: of features and meta columns (rows.KINDS).
        schema: of the first file of training.
    """

    spec: DatasetSpec
    files: dict[str, list[Path]]
    kinds: dict[str, str]
    labels: list[str]
    features: dict[str, Any]  # of a feature map; empty where the config describes the columns
    schema: pl.Schema

    def blocks(self, split: str, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The rows of a split in order, the named columns."""
        for file in self.files[split]:
            yield from _frames(self.spec, file, columns, self.kinds, self.features, self.labels)


def open_files(spec: DatasetSpec, places: Places) -> EncodedFiles:
    """Find the files and the description of their columns.

    Columns of items that the rows do not have, because an item table has them, are left out.

    Raises:
        RequestError: files, feature_map.json or columns are missing or damaged.
    """
    problems: list[str] = []
    found = find_data(spec, places, problems)
    by_map = not spec.feature_cols or spec.data_format == "h5"
    feature_map = find_feature_map(spec, places, problems) if by_map else None
    problems += [] if spec.train_data else [f"{spec.source or spec.dataset_id}: train_data is not set"]
    problems += [] if by_map or spec.label_col else [f"{spec.source or spec.dataset_id}: no label_col is set"]
    if problems:
        raise RequestError(problems)
    files = {split: data_files(path) for split, path in found.items()}
    features: dict[str, Any] = {}
    labels = [label.name for label in spec.label_col]
    if feature_map:
        features, labels = _described(feature_map, labels, files["train"][0].suffix == ".h5")
        kinds = {name: KINDS[feature["type"]] for name, feature in features.items()}
        of_items = {name for name, feature in features.items() if feature.get("source") == "item"}
    else:
        kinds = {column.name: KINDS[column.type] for column in spec.active_columns}
        of_items = {column.name for column in spec.item_columns}
    schema = _schema(spec, files["train"][0], [*kinds, *labels], kinds, features, labels)
    absent = [name for name in (*kinds, *labels) if name not in schema and name not in of_items]
    if absent:
        raise RequestError(
            f"train_data: '{files['train'][0]}' has no column '{name}'.{nearest(name, schema)}"
            for name in absent
        )
    kinds = {name: kind for name, kind in kinds.items() if name in schema}
    return EncodedFiles(spec, files, kinds, labels, features, schema)


def _described(file: Path, labels: list[str], h5: bool) -> tuple[dict[str, Any], list[str]]:
    """Features (for h5 with their columns, `index`) and labels of a feature map of FuxiCTR."""
    try:
        content = json.loads(file.read_text())
        if h5 or is_old(content):
            content, problems = translated(content, labels)
            if problems:
                raise RequestError(f"'{file}': {problem}" for problem in problems)
        features = {name: feature for item in content["features"] for name, feature in item.items()}
        return features, list(content["labels"]) or labels
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"'{file}' is no feature map of FuxiCTR: {error!r}") from error


def _schema(spec, file, names, kinds, features, labels) -> pl.Schema:
    if file.suffix == ".parquet":
        return RawFiles([file], _parquet(spec)).schema()
    if file.suffix == ".npz":
        return pl.Schema({name: _series(name, array[:1]).dtype for name, array in _load(file).items()})
    first = next(_frames(spec, file, names, kinds, features, labels), None)
    if first is None:
        raise RequestError(f"train_data: '{file}' has no rows")
    return first.schema


def _frames(spec, file, names, kinds, features, labels) -> Iterator[pl.DataFrame]:
    """The rows of one file."""
    if file.suffix == ".parquet":
        yield from (block.frame for block in RawFiles([file], _parquet(spec)).blocks(names))
    elif file.suffix == ".npz":
        arrays = _load(file)
        absent = [name for name in names if name not in arrays]
        if absent:
            raise RequestError(f"'{file}' has no array '{name}'.{nearest(name, arrays)}" for name in absent)
        if len({len(arrays[name]) for name in names}) > 1:
            raise RequestError(f"'{file}': the arrays have different numbers of rows")
        yield pl.DataFrame([_series(name, arrays[name]) for name in names])
    else:
        columns = [column for column in columns_of(features, labels) if column.name in names]
        rows = H5Rows(file, columns)
        whole = {name for name, kind in kinds.items() if kind not in (NUMBER, VECTOR)}
        for _, arrays in rows.blocks(range(len(rows.pieces))):
            yield pl.DataFrame([_series(name, array, name in whole) for name, array in arrays.items()])


def _parquet(spec: DatasetSpec) -> DatasetSpec:
    """The config, for the files that are there: encoded data may be in another format than the raw."""
    return spec.model_copy(update={"data_format": "parquet"})


def _load(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file) as arrays:  # a pickle inside is refused
            return dict(arrays)
    except (OSError, ValueError, BadZipFile) as error:
        raise RequestError(f"'{file}' is no npz file of arrays: {error}") from error


def _series(name: str, array: np.ndarray, whole: bool = False) -> pl.Series:
    """A column of an array (rows,), (rows, 1) or (rows, width); old ids may be stored as floats."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return pl.Series(name, array.astype(np.int64) if whole and array.dtype.kind == "f" else array)
