"""Loaders for a dataset's splits: from memory, or streamed from disk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.loaders.batches import Loader
from fuxictr_qnn.data.loaders.memory import MemoryLoader
from fuxictr_qnn.data.loaders.storage import layout, open_parts, row_bytes
from fuxictr_qnn.data.loaders.streaming import BUFFER_BYTES, StreamingLoader

SHARE = 0.5  # of the available memory; the rest is for the model and whatever else runs
GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def choose_buffer(
    feature_map: Any, splits: dict[str, Path], streaming: bool | Literal["auto"], budget: float | None
) -> int | None:
    """How many bytes of rows are shuffled together where the data is streamed; None: it is held in memory.

    With "auto" and no budget this hangs on the memory that is free at the moment, and with it the order of
    the batches: to be kept with whatever is made from them.

    Args:
        splits: split -> path.
        streaming: "auto" streams what would take more than the budget when packed in memory.
        budget: in GiB; None: half of the memory that is available now.
    """
    if streaming == "auto":
        limit = budget * GIB if budget is not None else SHARE * (available_memory() or float("inf"))
        streaming = packed_bytes(feature_map, splits) > limit
    if not streaming:
        return None
    return BUFFER_BYTES if budget is None else max(1, int(budget * GIB / 2))


def open_loaders(
    feature_map: Any,
    splits: dict[str, Path],
    *,
    batch_size: int,
    eval_batch_size: int | None = None,
    buffer_bytes: int | None = None,
    log: Log = print,
    **keys: Any,
) -> dict[str, Loader]:
    """A loader for each split; training batches have the weights that the feature map names.

    Args:
        splits: split -> path.
        eval_batch_size: of all but the training batches; default: batch_size.
        buffer_bytes: as `choose_buffer` says.
        log: gets a line where data is streamed.
        **keys: further keys of the loaders: shuffle, seed, device.

    Raises:
        RequestError: data that is damaged or does not fit the feature map.
    """
    keys["weight_col"] = getattr(feature_map, "weight_col", None)
    cls: type[Loader] = MemoryLoader
    if buffer_bytes is not None:
        cls, keys["buffer_bytes"] = StreamingLoader, buffer_bytes
    sizes = {split: batch_size if split == "train" else eval_batch_size or batch_size for split in splits}
    loaders = {
        split: cls(feature_map, path, split=split, batch_size=sizes[split], **keys)
        for split, path in splits.items()
    }
    if isinstance(train := loaders.get("train"), StreamingLoader):
        log(f"streaming from disk, up to {train.window_rows:,} rows at a time")
    return loaders


def packed_bytes(feature_map: Any, splits: dict[str, Path]) -> int:
    """What the splits would take in memory; only their sizes are read."""
    total = 0
    for split, path in splits.items():
        fields = layout(feature_map, getattr(feature_map, "weight_col", None) if split == "train" else None)
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
