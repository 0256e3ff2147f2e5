"""Datasets that FuxiCTR, or somebody else, has already encoded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fuxictr_qnn.data.checks import check_config
from fuxictr_qnn.data.dataset import BuiltDataset
from fuxictr_qnn.data.encoded.h5 import check_h5
from fuxictr_qnn.data.encoded.old_feature_map import is_old, translated
from fuxictr_qnn.data.feature_map import describe
from fuxictr_qnn.data.fingerprint import ContentHashes, fingerprint
from fuxictr_qnn.data.items.rows import row_problems
from fuxictr_qnn.data.items.table import FILE_NAME, ItemTable, find_item_files, read_item_table
from fuxictr_qnn.data.loaders.storage import data_files
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import SUFFIX
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary
from fuxictr_qnn.errors import RequestError, RunError, nearest
from fuxictr_qnn.files import write_json

NOTES = "notes.json"  # beside the item table: what had to be changed to read it


def open_encoded(spec: DatasetSpec, places: Places) -> BuiltDataset:
    """A folder `<data_root>/<dataset_id>` with feature_map.json and encoded parquet, npz or h5 files.

    With feature_cols (and rebuild_dataset: false) the feature map is made from their vocab_size, else
    feature_map.json is read; one of FuxiCTR 1.x or 2.0 is translated, and the translation kept where
    builds go. An item table (item_info) is checked together with all rows, and kept beside the feature map.

    Raises:
        RequestError: feature_map.json or data that is missing, columns without vocab_size, keys that only
            raw data can have, items and histories that do not fit the config or each other, h5 files that do
            not fit their feature map. RunError: the disk failed or is full.
    """
    try:
        return _opened(spec, places)
    except OSError as error:
        raise RunError(f"opening the encoded data of {spec.dataset_id} failed: {error}") from error


def _opened(spec: DatasetSpec, places: Places) -> BuiltDataset:
    started = time.perf_counter()
    problems: list[str] = []
    found = find_data(spec, places, problems)
    if not found:
        problems.append(f"{spec.source or spec.dataset_id}: train_data is not set")
    problems += _undescribed(spec) if _has_columns(spec) else []
    item_files = _attempt(lambda: find_item_files(spec, places), problems)
    _attempt(lambda: check_config(spec), problems)
    feature_map = None if _has_columns(spec) else find_feature_map(spec, places, problems)
    splits = {split: path for split, path in found.items() if path}
    translation = None
    if feature_map:
        translation = _attempt(lambda: _translation(spec, feature_map, splits), problems)
    if problems:
        raise RequestError(problems)
    hashes = ContentHashes(places.build_root(spec.dataset_id))
    contents = _contents(hashes, splits, item_files, feature_map)
    if feature_map is None:
        feature_map = _described(spec, places, contents)
        if not feature_map.is_file():
            _describe(spec, feature_map, splits, item_files)
    else:
        _read_items(spec, splits, item_files)
        if translation is not None:
            feature_map = _described(spec, places, contents)
            if not feature_map.is_file():
                write_json(feature_map, translation, indent=4)
    hashes.save()
    return BuiltDataset(
        dataset_id=spec.dataset_id,
        folder=feature_map.parent,
        feature_map=feature_map,
        train=found.get("train"),
        valid=found.get("valid"),
        test=found.get("test"),
        fingerprint=fingerprint(spec, contents),
        reused=True,
        seconds=time.perf_counter() - started,
        warnings=_notes(feature_map.parent),
    )


def _has_columns(spec: DatasetSpec) -> bool:
    """Whether the config says what the columns are, and not feature_map.json."""
    return bool(spec.feature_cols) and spec.data_format != "h5"


def _attempt(action: Callable[[], Any], problems: list[str]) -> Any:
    """What `action` returns; None, and more problems, where it refuses the request."""
    try:
        return action()
    except RequestError as error:
        problems += error.problems
        return None


def _read_items(spec: DatasetSpec, splits: dict[str, Path], files: dict[str, Path]) -> ItemTable | None:
    """The item table, checked together with every row; None where the config has none.

    Raises:
        RequestError: everything that is wrong with the items and the rows.
    """
    problems: list[str] = []
    rows = [(split, file) for split, path in splits.items() for file in data_files(path)]
    if not files:
        problems = [sentence for split, file in rows for sentence in _without_table(spec, split, file)]
        items = None
    else:
        items = _attempt(lambda: read_item_table(spec, files), problems)
        size = len(items) if items else None
        problems += [sentence for split, file in rows for sentence in row_problems(spec, split, file, size)]
    if problems:
        raise RequestError(problems)
    return items


def _without_table(spec: DatasetSpec, split: str, file: Path) -> list[str]:
    """Features of items that neither the rows nor a table give."""
    if not spec.item_columns or file.suffix != ".parquet":
        return []
    try:
        known = pq.read_schema(file).names
    except (pa.ArrowException, OSError):  # the loader explains it
        return []
    return [
        f"{split}_data: '{file}' has no column '{column.name}' of source item: set item_info, the parquet "
        f"file with a row for each item.{nearest(column.name, known)}"
        for column in spec.item_columns
        if column.name not in known
    ]


def find_data(spec: DatasetSpec, places: Places, problems: list[str]) -> dict[str, Path | None]:
    """Of each split that the config names: where it is; None, and one more problem, where it is nowhere."""
    found = {split: _place_of(path, spec, places) for split, path in spec.split_paths.items()}
    missing = {f"{split}_data": spec.split_paths[split] for split, place in found.items() if place is None}
    problems += places.all_not_found(missing, spec.dataset_id)
    return found


def _place_of(path: str, spec: DatasetSpec, places: Places) -> Path | None:
    """A file, with or without its suffix in the config, a folder of part files, or a pattern of them.

    FuxiCTR 1.x wrote a large split not as train.h5, but as train_part_0.h5, train_part_1.h5 ...
    """
    for suffix in dict.fromkeys(("", SUFFIX[spec.data_format], ".parquet", ".npz", ".h5")):
        place = places.find(path + suffix, spec.dataset_id)
        if place is not None:
            return place
    pattern = path if "*" in path else path.removesuffix(".h5") + "_part_*.h5"
    for place in places.candidates(pattern, spec.dataset_id):
        if any(place.parent.glob(place.name)):
            return place
    return None


def find_feature_map(spec: DatasetSpec, places: Places, problems: list[str]) -> Path | None:
    path = str(Path(spec.data_root or ".") / spec.dataset_id / "feature_map.json")
    place = places.find(path, spec.dataset_id) or places.find("feature_map.json", spec.dataset_id)
    if place is None:
        why = "h5 data is encoded" if spec.data_format == "h5" else "the config has no feature_cols"
        key = f"feature_map.json of encoded data ({why})"
        problems.append(places.not_found(key, path, spec.dataset_id))
    return place


def _translation(spec: DatasetSpec, file: Path, splits: dict[str, Path]) -> dict[str, Any] | None:
    """Today's form of an old feature map, or None where the file is in today's form.

    Raises:
        RequestError: a feature map that cannot be read or is of another dataset; h5 files without its
            columns.
    """
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(f"'{file}' is no JSON file: {error}") from error
    named = content.get("dataset_id") if isinstance(content, dict) else None
    if named not in (None, spec.dataset_id):
        raise RequestError(
            f"'{file}' is the feature map of dataset '{named}', not '{spec.dataset_id}': set "
            "data_root and dataset_id to what belongs together"
        )
    h5_files = [part for path in splits.values() for part in data_files(path) if part.suffix == ".h5"]
    if not h5_files and not is_old(content):
        return None
    today, problems = translated(content, [label.name for label in spec.label_col])
    problems = [f"'{file}': {problem}" for problem in problems]
    if not problems:
        features = {name: feature for item in today["features"] for name, feature in item.items()}
        problems = [sentence for part in h5_files for sentence in check_h5(part, features, today["labels"])]
    if problems:
        raise RequestError(problems)
    return today | {"dataset_id": spec.dataset_id}


def _undescribed(spec: DatasetSpec) -> list[str]:
    """What feature_cols must say about data that is encoded already."""
    key = f"{spec.source or spec.dataset_id}: rebuild_dataset: false"
    columns = spec.active_columns
    problems = [
        f"{key} needs vocab_size of column '{column.name}'"
        for column in columns
        if column.has_vocabulary and column.vocab_size is None
    ]
    problems += [
        f"{key} needs max_len of column '{column.name}'"
        for column in columns
        if column.type == "sequence" and not column.max_len
    ]
    problems += [
        f"{key} does not go with pretrained_emb of column '{column.name}': build from raw data"
        for column in columns
        if column.pretrained_emb
    ]
    return problems


def find_encoded(spec: DatasetSpec, places: Places) -> Path | None:
    """The feature map that `open_encoded` would use, None where it is not made yet. Writes nothing.

    Raises:
        RequestError: data, feature_map.json or files of the item table are missing.
    """
    problems: list[str] = []
    found = find_data(spec, places, problems)
    came_along = None if _has_columns(spec) else find_feature_map(spec, places, problems)
    if problems:
        raise RequestError(problems)
    splits = {split: path for split, path in found.items() if path}
    if came_along and _translation(spec, came_along, splits) is None:
        return came_along
    hashes = ContentHashes(places.build_root(spec.dataset_id))
    contents = _contents(hashes, splits, find_item_files(spec, places), came_along)
    described = _described(spec, places, contents)
    return described if described.is_file() else None


def _described(spec: DatasetSpec, places: Places, contents: dict[str, list[str]]) -> Path:
    name = f"encoded-{fingerprint(spec, contents)}"
    return places.build_root(spec.dataset_id) / name / "feature_map.json"


def _contents(
    hashes: ContentHashes, splits: dict[str, Path], item_files: dict[str, Path], feature_map: Path | None
) -> dict[str, list[str]]:
    """Of all files; not their times, so that a copy of the data is the same data."""
    files = {split: data_files(path) for split, path in splits.items()}
    files |= {key: [file] for key, file in item_files.items()}
    files |= {"feature_map": [feature_map]} if feature_map else {}
    return {key: [hashes.of(file) for file in some] for key, some in files.items()}


def _describe(spec: DatasetSpec, path: Path, splits: dict[str, Path], item_files: dict[str, Path]) -> None:
    """Check rows and items and keep what was found; the feature map comes last: where it is, all is there."""
    items = _read_items(spec, splits, item_files)
    if items is not None:
        items.write(path.parent / FILE_NAME)
        write_json(path.parent / NOTES, items.notes)
    vocabularies: dict[str, Vocabulary] = {}
    for column in spec.active_columns:
        if column.vocab_size is not None:
            vocabulary = Vocabulary.of_size(column.vocab_size)
            if column.share_embedding:
                vocabularies[column.share_embedding].merge(vocabulary)
                vocabulary = vocabularies[column.share_embedding]
            vocabularies[column.name] = vocabulary
    max_len = {column.name: column.max_len for column in spec.active_columns}
    write_json(path, describe(spec, vocabularies, max_len), indent=4)


def _notes(folder: Path) -> list[str]:
    file = folder / NOTES
    return json.loads(file.read_text()) if file.is_file() else []
