"""Datasets that FuxiCTR, or somebody else, has already encoded."""

from __future__ import annotations

import time
from pathlib import Path

from fuxictr_qnn.data.build import BuiltDataset
from fuxictr_qnn.data.checks import check_config
from fuxictr_qnn.data.feature_map import describe
from fuxictr_qnn.data.fingerprint import fingerprint
from fuxictr_qnn.data.places import SUFFIX, Places
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
    found = {split: _find_data(split, path, spec, places, problems) for split, path in spec.split_paths.items()}
    if not spec.split_paths:
        problems.append(f"{spec.source or spec.dataset_id}: train_data is not set")
    feature_map = None
    if not spec.feature_cols:
        relative = str(Path(spec.data_root or ".") / spec.dataset_id / "feature_map.json")
        feature_map = places.find(relative, spec.dataset_id) or places.find("feature_map.json", spec.dataset_id)
        if feature_map is None:
            looked = "\n".join(f"    {path}" for path in places.candidates(relative, spec.dataset_id))
            problems.append(f"feature_map.json of encoded data (no feature_cols are set) is at none of\n{looked}")
    else:
        problems += _without_vocab_size(spec)
    if problems:
        raise RequestError(problems)
    stamps = {split: _stamps(path) for split, path in found.items() if path}
    if feature_map is None:
        check_config(spec)
        feature_map = _write_feature_map(spec, places)
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


def _find_data(split: str, path: str, spec: DatasetSpec, places: Places, problems: list[str]) -> Path | None:
    """A file, with or without its suffix in the config, or a folder of part files."""
    suffixes = [SUFFIX[spec.data_format], ".parquet", ".npz"]
    for name in (path, *(path + suffix for suffix in suffixes)):
        place = places.find(name, spec.dataset_id)
        if place is not None:
            return place
    looked = "\n".join(f"    {candidate}" for candidate in places.candidates(path, spec.dataset_id))
    problems.append(f"{split}_data: '{path}' is at none of\n{looked}")
    return None


def _without_vocab_size(spec: DatasetSpec) -> list[str]:
    return [
        f"{spec.source or spec.dataset_id}: column '{column.name}' needs vocab_size with rebuild_dataset: false"
        for column in spec.active_columns
        if column.has_vocabulary and column.vocab_size is None
    ]


def _write_feature_map(spec: DatasetSpec, places: Places) -> Path:
    vocabularies: dict[str, Vocabulary] = {}
    for column in spec.active_columns:
        if column.vocab_size is not None:
            vocabulary = Vocabulary.of_size(column.vocab_size)
            if column.share_embedding in vocabularies:
                vocabularies[column.share_embedding].merge(vocabulary)
                vocabulary = vocabularies[column.share_embedding]
            vocabularies[column.name] = vocabulary
    path = places.build_root(spec.dataset_id) / f"encoded-{fingerprint(spec, {})}" / "feature_map.json"
    write_json(path, describe(spec, vocabularies, {}), indent=4)
    return path


def _stamps(path: Path) -> list[str]:
    """Names, sizes and times: encoded data is large and not ours, so it is not hashed."""
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    return [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
