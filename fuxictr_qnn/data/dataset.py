"""An encoded dataset on disk, however it came to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Log = Callable[[str], None]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class BuiltDataset:
    """An encoded dataset on disk.

    Attributes:
        folder: holds feature_map.json and, if it was built here, everything else.
        train, valid, test: encoded data, a file or a folder of part files; None where there is none.
        fingerprint: of the config and the input files; names the build.
        reused: whether the build was there before.
        seconds: time to build, or to check the existing build.
        warnings: sentences to show loudly.
        facts: rows and positive rate per split, time of the build ... (build.json).
    """

    dataset_id: str
    folder: Path
    feature_map: Path
    train: Path | None
    valid: Path | None
    test: Path | None
    fingerprint: str
    reused: bool
    seconds: float
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, Path]:
        """The splits that there are, and where their encoded data is."""
        return {split: path for split in SPLITS if (path := getattr(self, split))}
