"""What a build depends on, as one short name."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from pathlib import Path
from typing import Any

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.files import hash_of, write_json

FORMAT_VERSION = 3  # raise it whenever the same input would be built differently, or a default changes
CACHE_NAME = "content-hashes.json"
PATHS = {"source", "data_root", "train_data", "valid_data", "test_data", "item_info", "item_features"}
ABOUT = {"origin", "expected"}  # for `fuxictr data`
FACTS = ABOUT | {"user_col"}  # they decide nothing about a build or a run
NOT_IN_BUILD = PATHS | FACTS | {"group_id", "rebuild_dataset", "negative_sampling_rate"}


class ContentHashes:
    """SHA-256 of files, remembered by path, size and times of change beside the builds.

    The time of modification is no proof: what unpacks or copies a file may set it to that of the one before.
    """

    def __init__(self, folder: Path):
        self._path = folder / CACHE_NAME
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):  # not there yet, or damaged: hash again
            found = None
        self._known: dict[str, list[Any]] = found if isinstance(found, dict) else {}
        self._changed = False

    def of(self, file: Path) -> str:
        status = file.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        entry = self._known.get(str(file))
        if isinstance(entry, list) and entry[:-1] == stamp:
            return entry[-1]
        digest = hash_of(file)
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        if time.time_ns() - changed > 2_000_000_000:  # else an edit could keep the stamp
            self._known[str(file)] = [*stamp, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        if self._changed:
            write_json(self._path, self._known)


def fingerprint(spec: DatasetSpec, contents: dict[str, list[str]]) -> str:
    """Sixteen hex digits of the dataset config and the contents of all input files.

    Args:
        contents: hashes of the files of each split, of pretrained embeddings and of item tables.
    """
    config = spec.model_dump(mode="json", exclude=NOT_IN_BUILD, exclude_defaults=True)
    if spec.split_type == "per_user":
        config["split_by"] = spec.split_column  # group_id, where it decides which rows are in a split
    parts = {
        "format": FORMAT_VERSION,
        "config": config,
        "contents": contents,
        "feature_processor": _source_hash(spec.feature_processor),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _source_hash(feature_processor: str | None) -> str | None:
    """The code of the preprocess functions decides ids, too."""
    if feature_processor is None:
        return None
    try:
        module = importlib.util.find_spec(feature_processor.partition(":")[0])
        return hashlib.sha256(Path(module.origin).read_bytes()).hexdigest()
    except (ImportError, AttributeError, TypeError, ValueError, OSError):  # said when it is loaded
        return None
