"""What could be run: the expids and datasets that a config directory, or this installation, offers."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import NamedTuple

from fuxictr_qnn.config.sources import read_datasets, read_expids


class ListedExpid(NamedTuple):
    """One experiment by name."""

    expid: str
    model: str
    dataset_id: str
    file: Path


class ListedDataset(NamedTuple):
    """One dataset by name."""

    dataset_id: str
    file: Path
    values: dict


def list_expids(config: Path | None = None, pattern: str = "*") -> list[ListedExpid]:
    """The experiments whose name matches a shell pattern, sorted."""
    return [
        ListedExpid(name, str(entry.get("model")), str(entry.get("dataset_id")), entry.file)
        for name, entry in sorted(read_expids(config).items())
        if fnmatch.fnmatchcase(name.lower(), pattern.lower())
    ]


def list_datasets(config: Path | None = None, pattern: str = "*") -> list[ListedDataset]:
    """The datasets whose name matches a shell pattern, sorted; those of a config directory come along."""
    folder = config.parent if config is not None and config.is_file() else config
    return [
        ListedDataset(name, entry.file, entry.values)
        for name, entry in sorted(read_datasets(folder).items())
        if fnmatch.fnmatchcase(name.lower(), pattern.lower())
    ]
