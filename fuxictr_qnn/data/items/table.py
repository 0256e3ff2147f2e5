"""The item table: what is known of each item, looked up by its id.

Its arrays have N = 1 + largest item id rows: the row number is the item id, and row 0, the padding of
histories, is zeros. They are made from the parquet file `item_info`, joined by item_id with
`item_features` where that is given.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.items.columns import Misfit, encode, id_problems, some
from fuxictr_qnn.data.lists import as_lists
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import ITEM_KEY, DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.files import write_bytes

FILE_NAME = "items.parquet"


@dataclass(frozen=True)
class ItemTable:
    """The features of all items.

    Attributes:
        columns: feature -> array of shape (N,), or (N, max_len) and (N, pretrain_dim); ids are int32,
            numbers float32.
        notes: sentences about what had to be changed to bring the rows in the order of the ids.
    """

    columns: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns[ITEM_KEY])

    def write(self, path: Path) -> None:
        """One parquet file; `read_arrays` reads it."""
        arrays = {
            name: as_lists(values) if values.ndim == 2 else pa.array(values)
            for name, values in self.columns.items()
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table(arrays), buffer, compression="zstd")
        write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The columns of a written item table."""
    table = pq.read_table(path)
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    return {
        name: column.flatten().to_numpy().reshape(len(column), -1)
        if pa.types.is_list(column.type)
        else column.to_numpy()
        for name, column in columns.items()
    }


def find_item_files(spec: DatasetSpec, places: Places) -> dict[str, Path]:
    """The files behind the keys item_info and item_features, those that are set.

    Raises:
        RequestError: every file that is missing, with where it was looked for.
    """
    wanted = {"item_info": spec.item_info, "item_features": spec.item_features}
    wanted = {key: path for key, path in wanted.items() if path}
    found = {
        key: places.find(path, spec.dataset_id) or places.find(f"{path}.parquet", spec.dataset_id)
        for key, path in wanted.items()
    }
    missing = {key: wanted[key] for key, place in found.items() if place is None or not place.is_file()}
    if missing:
        raise RequestError(places.all_not_found(missing, spec.dataset_id))
    return found


def read_item_table(spec: DatasetSpec, files: dict[str, Path]) -> ItemTable:
    """Read, join and check the features of items.

    A column that both files have is taken from item_info. Lists of a sequence column are padded and cut
    to max_len at the side that `padding` names ("post", the default: zeros to the right, the first
    max_len are kept). A missing value is refused unless the column's fill_na says what it means.

    Raises:
        RequestError: every column that is missing, null, of a wrong type or out of its range; item ids
            that are missing or doubled; lists whose width is not the config's.
    """
    tables = _read(spec, files)
    info = tables["item_info"]
    if "item_features" in tables:
        info = info.join(tables["item_features"], on=ITEM_KEY, how="left", maintain_order="left")
    items = info.filter(pl.col(ITEM_KEY) != 0)
    ids, size = items[ITEM_KEY].to_numpy(), int(info[ITEM_KEY].max()) + 1
    arrays: dict[str, np.ndarray] = {}
    problems = []
    for column in spec.item_columns:
        try:
            encoded = encode(items[column.name], column)
        except Misfit as error:
            key = next(key for key, table in tables.items() if column.name in table.columns)
            problems.append(f"{key}: '{files[key]}': column '{column.name}' {error}")
            continue
        arrays[column.name] = np.zeros((size, *encoded.shape[1:]), encoded.dtype)
        arrays[column.name][ids] = encoded
    place = f"item_info: '{files['item_info']}'"
    problems += [f"{place} {problem}" for problem in _padding_problems(info)]
    if problems:
        raise RequestError(problems)
    return ItemTable(arrays, [f"{place} {note}" for note in _order_notes(info[ITEM_KEY].to_numpy())])


def _read(spec: DatasetSpec, files: dict[str, Path]) -> dict[str, pl.DataFrame]:
    """item_id and the columns of the config that each file has to give; the ids are checked.

    Raises:
        RequestError: damaged files, columns that no file has, item ids that cannot be joined.
    """
    problems: list[str] = []
    schemas = {key: _schema(f"{key}: '{file}'", file, problems) for key, file in files.items()}
    if problems:
        raise RequestError(problems)
    wanted: dict[str, list[str]] = {key: [ITEM_KEY] for key in files}
    for name in [column.name for column in spec.item_columns if column.name != ITEM_KEY]:
        key = next((key for key, schema in schemas.items() if name in schema), None)
        if key is None:
            known = [name for schema in schemas.values() for name in schema]
            place = " and ".join(f"{key} ('{file}')" for key, file in files.items())
            problems.append(
                f"{spec.source or spec.dataset_id}: column '{name}' is of source item, but {place} "
                f"lacks it.{nearest(name, known)}"
            )
        else:
            wanted[key].append(name)
    tables = {key: pl.read_parquet(file, columns=wanted[key]) for key, file in files.items()}
    for key, table in tables.items():
        problems += [f"{key}: '{files[key]}' {problem}" for problem in id_problems(table[ITEM_KEY])]
    if not problems:
        gaps = _gap_problems(tables["item_info"][ITEM_KEY].sort().to_numpy())
        problems = [f"item_info: '{files['item_info']}' {problem}" for problem in gaps]
    if problems:
        raise RequestError(problems)
    return tables


def _schema(place: str, file: Path, problems: list[str]) -> dict[str, pl.DataType]:
    try:
        schema = dict(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError) as error:
        problems.append(f"{place} is no parquet file or is cut off: {str(error).splitlines()[0]}")
        return {}
    if ITEM_KEY not in schema:
        problems.append(f"{place} has no column '{ITEM_KEY}'.{nearest(ITEM_KEY, schema)}")
    return schema


def _gap_problems(ids: np.ndarray) -> list[str]:
    """Ids between 1 and the largest one that have no row; `ids` are sorted and differ from each other."""
    steps = np.diff(ids, prepend=0)
    missing = int((steps - 1)[steps > 1].sum())
    if not missing:
        return []
    first = [int(ids[at - 1]) + 1 if at else 1 for at in np.flatnonzero(steps > 1)[:3]]
    return [
        f"lacks {missing} of the item ids from 1 to {ids[-1]}, the first after each gap: {some(first)}; "
        "add a row for each"
    ]


def _padding_problems(info: pl.DataFrame) -> list[str]:
    """The row of id 0 stands for the empty places of a history."""
    padding = info.filter(pl.col(ITEM_KEY) == 0)
    used = [
        name
        for name in padding.columns
        for values in padding[name].drop_nulls()
        if np.any(values.to_numpy() if isinstance(values, pl.Series) else values)
    ]
    if not used:
        return []
    return [
        f"gives item_id 0 a value of {', '.join(used)}, but 0 marks the empty places of a history: "
        "number the items from 1"
    ]


def _order_notes(ids: np.ndarray) -> list[str]:
    notes = []
    if (np.diff(ids) < 0).any():
        at = int(np.flatnonzero(ids != np.arange(len(ids)))[0])
        notes.append(f"is not in the order of the ids (row {at} holds item_id {ids[at]}): sorted by item_id")
    if not (ids == 0).any():
        notes.append("has no row for item_id 0, the padding: a row of zeros stands for it")
    return notes
