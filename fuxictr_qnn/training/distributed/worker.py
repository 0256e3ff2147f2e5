"""What one of several workers does: the runs it is told to, together with the others."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from fuxictr_qnn.errors import FuxictrError, RequestError, RunError
from fuxictr_qnn.training.distributed.group import SaidByTheFirst, WorkerGroup, is_agreed
from fuxictr_qnn.training.distributed.torchrun import RESTARTS_SO_FAR
from fuxictr_qnn.training.run import RunResult, run_seed
from fuxictr_qnn.training.run_folder import RunFolder

logger = logging.getLogger("fuxictr_qnn")

Call = dict[str, Any]  # the arguments of run_seed, but for gpu and workers


@contextmanager
def connected(gpu: int | None) -> Iterator[tuple[WorkerGroup, int]]:
    """The workers that torchrun started, and this one's device: the index of a GPU, or -1 for the CPU.

    Raises:
        RequestError: as `have_gpus`.
    """
    local = int(os.environ["LOCAL_RANK"])
    use_gpu = have_gpus(gpu, int(os.environ["LOCAL_WORLD_SIZE"]))
    if use_gpu:
        torch.cuda.set_device(local)
    rank, size, attempt = (int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", RESTARTS_SO_FAR))
    store, *_ = next(dist.rendezvous("env://", rank, size))
    # torchrun may keep its store over a restart, and with it the addresses of the workers before.
    store = dist.PrefixStore(f"attempt {attempt}", store)
    dist.init_process_group("nccl" if use_gpu else "gloo", store=store, rank=rank, world_size=size)
    try:
        yield WorkerGroup(), local if use_gpu else -1
    finally:
        dist.destroy_process_group()


def have_gpus(gpu: int | None, workers: int) -> bool:
    """Whether each of these workers on this machine gets a GPU: if there are any, unless `gpu` is -1.

    Raises:
        RequestError: there are some, but not enough.
    """
    count = 0 if gpu == -1 or not torch.cuda.is_available() else torch.cuda.device_count()
    if 0 < count < workers:
        raise RequestError(
            f"{workers} workers, but {count} GPUs: start as many workers as there are GPUs, or train on CPUs "
            "by --gpu -1"
        )
    return count > 0


def carry_out(calls: Sequence[Call], workers: WorkerGroup, gpu: int, restarted: bool) -> list[RunResult]:
    """Do the runs, in order, with the other workers.

    Args:
        gpu: this worker's; -1 is the CPU.
        restarted: workers were lost: what they had begun goes on from its last checkpoint.
    """
    if restarted:
        logger.warning("the workers were started anew: what they had begun goes on from its last checkpoint")
    results = []
    for call in calls:
        call = _again(call, workers) if restarted else call
        results.append(run_seed(**call, gpu=gpu, workers=workers))
    return results


def _again(call: Call, workers: WorkerGroup) -> Call:
    """The call after a restart: an incomplete run goes on, whatever was asked for at first."""
    folder = workers.folder(RunFolder(Path(call["out"]), call["experiment"], call["seed"]))
    return call | {"resume": True, "force": call["force"] and not folder.is_started}


def outcome(action: Callable[[], list[RunResult]], workers: WorkerGroup) -> list[RunResult] | FuxictrError:
    """What `action` returns, or why it failed on all workers; raises what failed on some, to end the process.

    Another worker may be lost, or may be waiting for this one: starting them anew may mend that.
    """
    try:
        return action()
    except FuxictrError as error:
        if not is_agreed(error) and not workers.all_failed():
            raise RunError(f"worker {workers.rank}: {error}") from error
        return error if workers.is_first else SaidByTheFirst(error.exit_code)
