"""Whether an experiment's data is held in memory or streamed from disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from fuxictr_qnn.data.loaders.storage import layout, open_parts, row_bytes

SHARE = 0.5  # of the available memory; the rest is for the model and whatever else runs
GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def is_streamed(
    feature_map: Any, paths: dict[str, Path], streaming: bool | Literal["auto"], budget: float | None
) -> bool:
    """Whether to stream the splits, given as split -> path.

    Args:
        streaming: "auto" streams what would take more than the budget when packed in memory.
        budget: in GiB; None: half of the memory that is available now.
    """
    if streaming != "auto":
        return streaming
    limit = budget * GIB if budget is not None else SHARE * (available_memory() or float("inf"))
    return packed_bytes(feature_map, paths) > limit


def packed_bytes(feature_map: Any, paths: dict[str, Path]) -> int:
    """What the splits would take in memory; only their sizes are read."""
    total = 0
    for split, path in paths.items():
        fields = layout(feature_map, split)
        total += row_bytes(fields) * sum(sum(part.pieces) for part in open_parts(path, fields))
    return total


def available_memory() -> int | None:
    """Bytes that this process may still take; None where the system does not say.

    On Linux the smaller of the machine's and the container's (cgroup v2).
    """
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        machine = int(found[1]) * 1024 if found else None
    except OSError:
        return None
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):  # no such limit
        return machine
    container = max(0, limit - used + (int(cached[1]) if cached else 0))
    return container if machine is None else min(machine, container)
