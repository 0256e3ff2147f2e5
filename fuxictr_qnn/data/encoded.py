"""Datasets that FuxiCTR, or somebody else, has already encoded."""

from __future__ import annotations

import time
from pathlib import Path

from fuxictr_qnn.data.build import BuiltDataset
from fuxictr_qnn.data.checks import check_config
from fuxictr_qnn.data.feature_map import describe
from fuxictr_qnn.data.fingerprint import fingerprint
from fuxictr_qnn.data.inputs import SUFFIX
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import write_json


def open_encoded(spec: DatasetSpec, places: Places) -> BuiltDataset:
    """A folder `<data_root>/<dataset_id>` with feature_map.json and encoded parquet or npz files.

    With feature_cols (and rebuild_dataset: false) the feature map is made from their vocab_size,
    else feature_map.json is read.

    Raises:
        RequestError: feature_map.json or data that is missing, columns without vocab_size.
    """
    started = time.perf_counter()
    problems: list[str] = []
    found = {split: _find_data(split, spec, places, problems) for split in spec.split_paths}
    if not found:
        problems.append(f"{spec.source or spec.dataset_id}: train_data is not set")
    if spec.feature_cols:
        feature_map = None
        problems += _undescribed(spec)
    else:
        feature_map = _find_feature_map(spec, places, problems)
    if problems:
        raise RequestError(problems)
    stamps = {split: _stamps(path) for split, path in found.items() if path}
    if feature_map is None:
        check_config(spec)
        feature_map = described_feature_map(spec, places)
        if not feature_map.is_file():
            _write_feature_map(spec, feature_map)
    else:
        stamps["feature_map"] = _stamps(feature_map)
    return BuiltDataset(
        dataset_id=spec.dataset_id,
        folder=feature_map.parent,
        feature_map=feature_map,
        train=found.get("train"),
        valid=found.get("valid"),
        test=found.get("test"),
        fingerprint=fingerprint(spec, stamps),
        reused=True,
        seconds=time.perf_counter() - started,
    )


def _find_data(split: str, spec: DatasetSpec, places: Places, problems: list[str]) -> Path | None:
    """A file, with or without its suffix in the config, or a folder of part files."""
    path = spec.split_paths[split]
    for suffix in ("", SUFFIX[spec.data_format], ".parquet", ".npz"):
        place = places.find(path + suffix, spec.dataset_id)
        if place is not None:
            return place
    problems.append(places.not_found(f"{split}_data", path, spec.dataset_id))
    return None


def _find_feature_map(spec: DatasetSpec, places: Places, problems: list[str]) -> Path | None:
    path = str(Path(spec.data_root or ".") / spec.dataset_id / "feature_map.json")
    place = places.find(path, spec.dataset_id) or places.find("feature_map.json", spec.dataset_id)
    if place is None:
        key = "feature_map.json of encoded data (the config has no feature_cols)"
        problems.append(places.not_found(key, path, spec.dataset_id))
    return place


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


def described_feature_map(spec: DatasetSpec, places: Places) -> Path:
    """Where the feature map goes that is made from feature_cols; named by its config."""
    return places.build_root(spec.dataset_id) / f"encoded-{fingerprint(spec, {})}" / "feature_map.json"


def _write_feature_map(spec: DatasetSpec, path: Path) -> None:
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


def _stamps(path: Path) -> list[str]:
    """Names, sizes and times: encoded data is large and not ours, so it is not hashed."""
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    return [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
