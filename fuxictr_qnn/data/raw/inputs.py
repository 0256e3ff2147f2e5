"""The files that a build is made from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fuxictr_qnn.data.fingerprint import ContentHashes
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError

SUFFIX = {"csv": ".csv", "parquet": ".parquet", "npz": ".npz", "h5": ".h5"}


@dataclass(frozen=True)
class Inputs:
    """Files of each split, and the pretrained embedding of each column that has one."""

    splits: dict[str, list[Path]]
    pretrained: dict[str, Path]

    @classmethod
    def find(cls, spec: DatasetSpec, places: Places) -> Inputs:
        """Look for all of them.

        Raises:
            RequestError: some are missing or empty.
        """
        return cls(find_raw_files(spec, places), find_pretrained(spec, places))

    def contents(self, hashes: ContentHashes) -> dict[str, list[str]]:
        """A hash for each file, by split and column."""
        splits = {split: [hashes.of(file) for file in files] for split, files in self.splits.items()}
        return splits | {f"pretrained {name}": [hashes.of(file)] for name, file in self.pretrained.items()}

    def stamps(self) -> dict[Path, tuple[int, ...]]:
        """Size and time of change of each file: what is different when its contents are."""
        files = [*(file for files in self.splits.values() for file in files), *self.pretrained.values()]
        return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, ...]:
    """Empty where the file is gone."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return ()
    return status.st_size, status.st_mtime_ns


def find_raw_files(spec: DatasetSpec, places: Places) -> dict[str, list[Path]]:
    """The files of each split, a folder's in the order of their names.

    Returns:
        split ("train", "valid", "test") -> files, only splits that the config names.

    Raises:
        RequestError: every file that is missing or empty, with where it was looked for.
    """
    problems = [] if spec.train_data else [f"{spec.source or spec.dataset_id}: train_data is not set"]
    placed = {split: _place_of(path, spec, places) for split, path in spec.split_paths.items()}
    missing = {f"{split}_data": spec.split_paths[split] for split, place in placed.items() if place is None}
    problems += places.all_not_found(missing, spec.dataset_id)
    found: dict[str, list[Path]] = {}
    for split, place in placed.items():
        if place is not None:
            found[split], problem = _files_of(f"{split}_data", place, SUFFIX[spec.data_format])
            problems += [problem] if problem else []
    if problems:
        raise RequestError(problems)
    return found


def find_pretrained(spec: DatasetSpec, places: Places) -> dict[str, Path]:
    """The file of each column that has a pretrained embedding.

    Raises:
        RequestError: every file that is missing.
    """
    wanted = {column.name: column.pretrained_emb for column in spec.active_columns if column.pretrained_emb}
    found = {name: places.find(path, spec.dataset_id) for name, path in wanted.items()}
    missing = [name for name, place in found.items() if place is None or not place.is_file()]
    if missing:
        raise RequestError(
            places.not_found(f"pretrained_emb of column '{name}'", wanted[name], spec.dataset_id)
            for name in missing
        )
    return found


def _place_of(path: str, spec: DatasetSpec, places: Places) -> Path | None:
    """The file or folder that a path names, with or without its suffix."""
    place = places.find(path, spec.dataset_id)
    suffix = SUFFIX[spec.data_format]
    if place is None and not path.endswith(suffix):
        place = places.find(path + suffix, spec.dataset_id)
    return place


def _files_of(key: str, place: Path, suffix: str) -> tuple[list[Path], str | None]:
    files = sorted(place.glob(f"*{suffix}")) if place.is_dir() else [place]
    if not files:
        return [], f"{key}: the folder '{place}' holds no {suffix} file"
    for file in files:
        if not os.access(file, os.R_OK):
            return [], f"{key}: '{file}' may not be read"
        if file.stat().st_size == 0:
            return [], f"{key}: '{file}' is empty (0 bytes)"
    return files, None
