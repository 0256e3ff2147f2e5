"""Several workers, connected by torch.distributed: tensors by gloo on CPUs and NCCL on GPUs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from fuxictr_qnn.errors import FuxictrError, RequestError, RunError
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.distributed.batch_norm import norm_over_workers
from fuxictr_qnn.training.distributed.gradients import sum_gradients
from fuxictr_qnn.training.distributed.run_folder import SharedRunFolder
from fuxictr_qnn.training.distributed.sharing import Part, rows_of
from fuxictr_qnn.training.distributed.workers import T, Workers
from fuxictr_qnn.training.run_folder import RunFolder

# The others wait while the first builds data or computes metrics. A dead worker is noticed at once.
_PATIENCE = timedelta(days=7)
_UNTIL_ALL_FAIL = timedelta(seconds=30)


class SaidByTheFirst(FuxictrError):
    """What went wrong stands in the message of the first worker: nothing to add."""

    problems: tuple[str, ...] = ()

    def __init__(self, exit_code: int):
        self.exit_code = exit_code
        super().__init__("see the message of the first worker")


def is_agreed(error: BaseException | None) -> bool:
    """Whether all workers raise this failure, or what caused it, and know that they do."""
    return error is not None and (getattr(error, "agreed", False) or is_agreed(error.__cause__))


class WorkerGroup(Workers):
    """This process among the workers of torch.distributed's default process group.

    Attributes:
        present: whether the current batch had rows for this worker. One without, in a batch smaller than the
            group, goes along with a row of another worker that counts nothing.
    """

    def __init__(self):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.present = True
        self._talk = dist.new_group(backend="gloo", timeout=_PATIENCE)  # of objects, which lie on the CPU
        self._alarm = dist.new_group(backend="gloo", timeout=_UNTIL_ALL_FAIL)

    def adopt(self, model: nn.Module, seed: int) -> None:
        norm_over_workers(model, self)
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
        if not self.is_first:
            own = np.random.SeedSequence((seed, self.rank)).generate_state(3)
            random.seed(int(own[0]))
            np.random.seed(int(own[1]))
            torch.manual_seed(int(own[2]))

    def share(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        rows = len(next(iter(batch.values())))
        own = rows_of(rows, self.rank, self.size)
        self.present = len(own) > 0
        places = slice(own.start, max(own.stop, own.start + 1))
        return {name: column[places] for name, column in batch.items()}, len(own) / rows

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        return sum_gradients(parameters, loss)

    def part(self, loader: Iterable) -> Iterable:
        return Part(loader, self.rank, self.size)

    def join(self, scores: Scores) -> Scores:
        parts = self.gather(scores)
        parts = [part for part in parts if len(part.y_true)] or parts
        return Scores(
            np.concatenate([part.y_pred for part in parts]),
            np.concatenate([part.y_true for part in parts]),
            None if scores.group is None else np.concatenate([part.group for part in parts]),
        )

    def first_does(self, action: Callable[[], T]) -> T:
        value = self.all_do(action if self.is_first else lambda: None)
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._talk, device=torch.device("cpu"))
        return value if self.is_first else box[0]

    def first_then_all(self, action: Callable[[], T]) -> T:
        value = self.all_do(action if self.is_first else lambda: None)
        others = self.all_do((lambda: None) if self.is_first else action)
        return value if self.is_first else others

    def all_do(self, action: Callable[[], T]) -> T:
        value, own = None, None
        try:
            value = action()
        except Exception as error:
            if is_agreed(error):  # within `action` all have learnt of it
                raise
            own = error
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, _described(own), group=self._talk)
        failed = [rank for rank, failure in enumerate(found) if failure is not None]
        if not failed:
            return value
        error = own if own is not None and self.rank == failed[0] == 0 else self._failure(found, failed[0])
        error.agreed = True
        raise error

    def gather(self, value: T) -> list[T]:
        values: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(value, values, dst=0, group=self._talk)
        return values if values is not None else [value]

    def all_failed(self) -> bool:
        """Whether the others ask so, too, within half a minute: a failure of all, which needs no restart."""
        try:
            dist.barrier(group=self._alarm)
        except RuntimeError:
            return False
        return True

    def folder(self, folder: RunFolder) -> SharedRunFolder:
        return SharedRunFolder(folder, self)

    def _failure(self, found: list[Any], rank: int) -> FuxictrError:
        """What this worker raises for the failure of worker `rank`."""
        exit_code, problems = found[rank]
        if not self.is_first:
            return SaidByTheFirst(exit_code)
        problems = [f"worker {rank}: {problem}" for problem in problems]
        if exit_code == RequestError.exit_code:
            return RequestError(problems)
        return RunError("\n".join(problems))


def _described(error: Exception | None) -> tuple[int, list[str]] | None:
    """A failure as plain data: exit code and problems."""
    if error is None:
        return None
    if isinstance(error, FuxictrError):
        return error.exit_code, list(getattr(error, "problems", [str(error)]))
    return RunError.exit_code, [f"{type(error).__name__}: {error}"]
