"""torchrun's workers on this machine, and those that torchrun itself has started."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.errors import FuxictrError, RequestError, RunError

if TYPE_CHECKING:  # all of torch and FuxiCTR, which a refused request need not wait for
    from fuxictr_qnn.training.distributed.worker import Call
    from fuxictr_qnn.training.run import RunResult

RESTARTS = 3  # how often workers are started anew after one was lost
RESTARTS_SO_FAR = "TORCHELASTIC_RESTART_COUNT"
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def rank() -> int | None:
    """Of this process among the workers that torchrun started; None if it is not one of them."""
    return int(os.environ["RANK"]) if all(name in os.environ for name in _VARIABLES) else None


def world_size() -> int:
    """How many workers torchrun started."""
    return int(os.environ["WORLD_SIZE"])


@contextmanager
def first_speaks() -> Iterator[None]:
    """Of torchrun's workers, only the first prints what all would: results, and why a request is refused."""
    if not rank():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        except RequestError as error:
            raise SystemExit(error.exit_code) from None


def was_restarted() -> bool:
    """Whether torchrun had to start its workers anew."""
    return int(os.environ.get(RESTARTS_SO_FAR, 0)) > 0


def as_worker(calls: Sequence[Call], gpu: int | None) -> list[RunResult]:
    """Do the runs as one of the workers that torchrun started."""
    from fuxictr_qnn.training.distributed.worker import carry_out, connected, outcome

    with connected(gpu) as (workers, own_gpu):
        found = outcome(lambda: carry_out(calls, workers, own_gpu, was_restarted()), workers)
    return _result(found)


def launch(
    calls: Sequence[Call],
    workers: int,
    gpu: int | None,
    output: Callable[[], AbstractContextManager[Any]],
) -> list[RunResult]:
    """Do the runs on `workers` processes of this machine, which torchrun's agent starts and watches.

    Args:
        output: shows what the first worker logs; has to be importable by name.

    Raises:
        RequestError, RunError: as the runs do.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from fuxictr_qnn.training.distributed.worker import have_gpus

    have_gpus(gpu, workers)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # tracebacks of all attempts
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=workers,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
    )
    try:
        found = elastic_launch(config, _work)(list(calls), gpu, output)[0]
    except ChildFailedError as error:
        reason = error.get_first_failure()[1].message  # what a signal did, or a description of an exception
        reason = reason if isinstance(reason, str) else reason["message"]
        raise RunError(f"--distributed torchrun: {reason.splitlines()[0]}; --resume goes on") from error
    except SignalException as error:
        raise KeyboardInterrupt from error
    return _result(found)


def _result(found: list[RunResult] | FuxictrError) -> list[RunResult]:
    if isinstance(found, FuxictrError):
        raise found
    return found


def _work(
    calls: Sequence[Call], gpu: int | None, output: Callable[[], AbstractContextManager[Any]]
) -> list[RunResult] | FuxictrError | None:
    """One worker, in a process of its own."""
    import torch

    from fuxictr_qnn.training.distributed.worker import carry_out, connected, outcome

    logging.getLogger().addHandler(logging.NullHandler())  # others than the first say nothing
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    with output() if rank() == 0 else nullcontext(), connected(gpu) as (workers, own_gpu):
        found = outcome(lambda: carry_out(calls, workers, own_gpu, was_restarted()), workers)
        return found if workers.is_first else None
