"""How many cores there are, and a worker's share of them."""

from __future__ import annotations

import os

from fuxictr_qnn.errors import RequestError

TOO_FEW_WORKERS = "--workers {}: expected a number of at least 1"


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_cores(workers: int) -> int:
    """Threads of each of so many workers: $OMP_NUM_THREADS where it is set, else an equal share of the cores.

    Raises:
        RequestError: they would need more cores than there are.
    """
    found, given = cores(), os.environ.get("OMP_NUM_THREADS", "")
    if workers < 1:
        raise RequestError(TOO_FEW_WORKERS.format(workers))
    if workers > found:
        raise RequestError(
            f"--workers {workers}: this machine has {found} cores; more workers only wait for each other"
        )
    threads = int(given) if given.isdigit() and int(given) else max(1, found // workers)
    if workers > 1 and workers * threads > found:
        raise RequestError(
            f"--workers {workers} with OMP_NUM_THREADS={threads} want {workers * threads} cores, and this "
            f"machine has {found}: unset OMP_NUM_THREADS, or set it to {found // workers}"
        )
    return threads


def limit_threads(threads: int) -> None:
    """Let this process compute with so many threads. Before its pools start: they are sized once."""
    os.environ["POLARS_MAX_THREADS"] = str(threads)

    import pyarrow
    import torch

    torch.set_num_threads(threads)
    pyarrow.set_cpu_count(threads)
