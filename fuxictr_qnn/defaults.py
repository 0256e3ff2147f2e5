"""Where data and builds are where nobody says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

DATA_ROOT = Path("data")


def default_data_root() -> Path:
    """$FUXICTR_DATA, else ./data."""
    return Path(os.environ.get("FUXICTR_DATA", DATA_ROOT))


def default_build_dir() -> Path | None:
    """$FUXICTR_BUILDS, else None: beside the raw files."""
    return Path(given) if (given := os.environ.get("FUXICTR_BUILDS")) else None
