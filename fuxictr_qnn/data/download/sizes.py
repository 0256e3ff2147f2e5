"""Bytes: how many, and whether there is room for them."""

from __future__ import annotations

import shutil
from pathlib import Path

from fuxictr_qnn.errors import RequestError

UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(count: int) -> str:
    """Bytes in the decimal units of download pages: 950 B, 1.3 MB, 12 GB."""
    if count < 1000:
        return f"{count} B"
    power = next((power for power in range(1, len(UNITS)) if count < 999.5 * 1000**power), len(UNITS) - 1)
    value = count / 1000**power
    return f"{value:.1f} {UNITS[power]}" if value < 99.5 else f"{value:.0f} {UNITS[power]}"


def free_bytes(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def check_room(folder: Path, wanted: int, what: str) -> None:
    """RequestError unless `wanted` more bytes fit.

    Args:
        what: needs them, for the message.
    """
    free = free_bytes(folder)
    if wanted > free:
        raise RequestError(
            f"{what} needs {size_text(wanted)}, but the disk that holds '{folder}' has only "
            f"{size_text(free)} free: make room, or set --data-root to a folder on another disk"
        )
