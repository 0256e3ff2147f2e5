"""What could be run: the expids and datasets that a config directory, or this installation, offers."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from fuxictr_qnn.config.sources import read_datasets, read_expids
from fuxictr_qnn.data.download.sizes import size_text
from fuxictr_qnn.errors import RequestError

OWN_PAPERS = ("QNNalpha", "QIN")  # the models that this package is about

# What datasets are called in expids, <Model>_<short name>; a dataset that is not here goes by its own name.
SHORT_NAMES = {
    "avazu_x4": "avazu",
    "criteo_x4": "criteo",
    "frappe_x1": "frappe",
    "ipinyou_x1": "ipinyou",
    "kkbox_x1": "kkbox",
    "microlens_1m_x1": "microlens",
    "ml1m_next": "ml1mnext",
    "ml_100k": "ml100k",
    "ml_1m_x1": "ml1m",
    "movielenslatest_x1": "movielenslatest",
    "planted_interest": "planted",
    "tenrec_x1": "tenrec",
}


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

    @property
    def origin(self) -> dict:
        """What is said of where it comes from; the config is not validated."""
        return _mapping(self.values.get("origin"))

    @property
    def size(self) -> str:
        """Bytes to download where they are known, else rows; "" where neither is."""
        if isinstance(self.origin.get("download"), int):
            return size_text(self.origin["download"])
        rows = _mapping(_mapping(self.values.get("expected")).get("rows"))
        # a file that two splits share counts once
        files = {self.values.get(f"{split}_data"): count for split, count in rows.items()}
        return f"{sum(files.values()):,} rows" if files else ""


def _mapping(value: Any) -> dict:
    return value if isinstance(value, dict) else {}


def list_expids(config: Path | None = None, pattern: str = "*") -> list[ListedExpid]:
    """The experiments whose name matches a shell pattern, sorted."""
    return [
        ListedExpid(name, str(entry.get("model")), str(entry.get("dataset_id")), entry.file)
        for name, entry in sorted(read_expids(config).items())
        if fnmatch.fnmatchcase(name.lower(), pattern.lower())
    ]


def expid_of(model: str, dataset_id: str) -> str:
    """The name of a model's config on a dataset."""
    return f"{model}_{SHORT_NAMES.get(dataset_id, dataset_id)}"


def expid_for(dataset_id: str, config: Path | None = None) -> str | None:
    """An experiment on a dataset, one of QNNalpha or QIN where there is one; None where none is known."""
    try:
        rows = [row for row in list_expids(config) if row.dataset_id == dataset_id]
    except RequestError:  # a config directory may hold datasets only
        return None
    return min(rows, key=lambda row: row.model not in OWN_PAPERS).expid if rows else None


def list_datasets(config: Path | None = None, pattern: str = "*") -> list[ListedDataset]:
    """The datasets whose name matches a shell pattern, sorted; those of a config directory come along."""
    folder = config.parent if config is not None and config.is_file() else config
    return [
        ListedDataset(name, entry.file, entry.values)
        for name, entry in sorted(read_datasets(folder).items())
        if fnmatch.fnmatchcase(name.lower(), pattern.lower())
    ]
