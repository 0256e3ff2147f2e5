"""The rows of a dataset as they are before ids: raw files with their preprocessing, or encoded ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from fuxictr_qnn.data.building.preprocessing import Preprocessing
from fuxictr_qnn.data.building.survey import preprocess
from fuxictr_qnn.data.download.plan import with_hint
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.audit.encoded import open_files
from fuxictr_qnn.data.quality.audit.rows import HISTORY, ID, KINDS, TOKENS, VECTOR, Column, Opened, Rows
from fuxictr_qnn.data.raw.inputs import find_raw_files
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.raw.splits import find_sources
from fuxictr_qnn.data.spec import ITEM_HISTORY, DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest


def open_rows(spec: DatasetSpec, places: Places, time: str | None = None) -> Opened:
    """Find the files of a dataset and plan how they are read.

    Args:
        time: the column that says when a row happened; default: the config's time_col.

    Raises:
        RequestError: files or columns are missing, the config has no label.
    """
    time, places = time or spec.time_col, with_hint(spec, places)
    return _open_encoded(spec, places, time) if spec.is_encoded else _open_raw(spec, places, time)


def _open_raw(spec: DatasetSpec, places: Places, time: str | None) -> Opened:
    if not spec.label_col:
        raise RequestError(f"{spec.source or spec.dataset_id}: label_col is not set: nothing to audit for")
    files = find_raw_files(spec, places)
    schema = RawFiles(files["train"], spec).schema()
    preprocessing = Preprocessing(spec, schema)
    # As in the build: what a feature is made from has in every file the type of the first rows of training.
    types = {name: dtype for name, dtype in schema.items() if name in preprocessing.inputs}
    raw = {split: RawFiles(some, spec, types) for split, some in files.items()}
    columns = [
        Column(
            column.name,
            KINDS[column.type],
            splitter=column.splitter if column.type == "sequence" else None,
            min_count=column.min_categr_count or spec.min_categr_count,
            whole_cells=column.count_whole_cells,
            bucketed=column.category_processor is not None,
        )
        for column in spec.active_columns
    ]
    columns = [_by_type(column, preprocessing.outputs[column.name]) for column in columns]
    _check_names(spec, time, schema, [column.name for column in columns])
    wanted = [*preprocessing.inputs, *([time] if time else [])]

    def blocks() -> Iterator[tuple[str, Rows]]:
        for source in find_sources(spec, raw):
            for block, parts in source.blocks(wanted):
                frame = preprocess(preprocessing, block)
                both = [name for name in frame.columns if name in block.frame.columns]
                missing = {name: _empty(block.frame[name]) for name in both}
                rows = Rows(frame, missing, block.frame[time] if time else None)
                yield from ((split, rows.of(mask)) for split, mask in parts.items())

    labels = [label.name for label in spec.label_col]
    splits = dict.fromkeys(spec.split_names, str(files["train"][0])) | _said(files)
    if spec.divided:  # one file, but no row twice
        splits |= {split: f"{split} of {files['train'][0]}" for split in spec.divided}
    return Opened(splits, columns, labels[0], labels[1:], spec.group_id or spec.user_col, time, blocks)


def _open_encoded(spec: DatasetSpec, places: Places, time: str | None) -> Opened:
    encoded = open_files(spec, places)
    columns = [_by_type(Column(name, kind), encoded.schema[name]) for name, kind in encoded.kinds.items()]
    if spec.group_id and spec.group_id not in encoded.kinds and spec.group_id in encoded.schema:
        columns.append(Column(spec.group_id, ID))
    _check_names(spec, time, encoded.schema, [column.name for column in columns])
    wanted = [*(column.name for column in columns), *encoded.labels]
    wanted += [time] if time and time not in wanted else []

    def blocks() -> Iterator[tuple[str, Rows]]:
        for split in encoded.files:
            for frame in encoded.blocks(split, wanted):
                yield split, Rows(frame, {}, frame[time] if time else None)

    label, *others = encoded.labels
    return Opened(_said(encoded.files), columns, label, others, spec.group_id, time, blocks)


def _check_names(spec: DatasetSpec, time: str | None, schema: pl.Schema, names: list[str]) -> None:
    problems = []
    if time and time not in schema:
        problems.append(f"--time-col: train_data has no column '{time}'.{nearest(time, schema)}")
    if spec.group_id and spec.group_id not in names:
        problems.append(f"group_id: '{spec.group_id}' is none of the columns.{nearest(spec.group_id, names)}")
    if problems:
        raise RequestError(problems)


def _said(files: dict[str, list[Path]]) -> dict[str, str]:
    return {split: ", ".join(str(file.resolve()) for file in some) for split, some in files.items()}


def _by_type(column: Column, dtype: pl.DataType) -> Column:
    """Lists are tokens, or a history where they are no feature themselves; lists of floats are vectors."""
    if not isinstance(dtype, (pl.List, pl.Array)) or column.kind == VECTOR:
        return column
    if dtype.inner.is_float():
        return replace(column, kind=VECTOR)
    history = column.kind == ID or column.name == ITEM_HISTORY
    return replace(column, kind=HISTORY if history else TOKENS, splitter=None)


def _empty(cells: pl.Series) -> np.ndarray:
    empty = cells.is_null()
    if cells.dtype.is_float():
        empty |= cells.is_nan().fill_null(True)
    elif cells.dtype == pl.String:
        empty |= (cells == "").fill_null(True)
    return empty.to_numpy()
