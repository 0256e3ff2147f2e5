"""One door to all ways of doing runs: in this process, or on several workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.training.distributed import ray, torchrun

if TYPE_CHECKING:
    from fuxictr_qnn.training.distributed.worker import Call
    from fuxictr_qnn.training.run import RunResult


def do_runs(
    calls: Sequence[Call],
    *,
    gpu: int | None,
    distributed: str | None,
    workers: int | None,
    output: Callable[[], AbstractContextManager[Any]],
) -> list[RunResult]:
    """Do the runs, one after another.

    Args:
        calls: arguments of `run_seed`, but for gpu and workers.
        gpu: index of a GPU, -1 for the CPU, None for GPUs if there are any.
        distributed: "ray" or "torchrun" start `workers` workers; None does not.
        output: shows what is logged; has to be importable by name.

    Raises:
        RequestError, RunError: as `run_seed` does, and what starting workers raises.
    """
    if distributed == "torchrun":
        return torchrun.launch(calls, workers, gpu, output)
    with output():
        if distributed == "ray":
            return ray.launch(calls, workers, gpu)
        if torchrun.rank() is not None:
            return torchrun.as_worker(calls, gpu)
        from fuxictr_qnn.training.run import run_seed

        return [run_seed(**call, gpu=gpu) for call in calls]
