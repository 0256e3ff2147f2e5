"""The run folder of several workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from fuxictr_qnn.training.run_folder import RunFolder

if TYPE_CHECKING:
    from fuxictr_qnn.training.distributed.group import WorkerGroup


class SharedRunFolder:
    """A RunFolder that the first worker reads and writes; the others get what it returned or raised.

    Has the attributes and methods of RunFolder. The others need not see the file system it lies on.
    """

    def __init__(self, folder: RunFolder, workers: WorkerGroup):
        self.path = folder.path
        self._folder, self._workers = folder, workers

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(RunFolder, name)):
            return lambda *args: self._workers.first_does(lambda: getattr(self._folder, name)(*args))
        return self._workers.first_does(lambda: getattr(self._folder, name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            self._workers.first_does(lambda: stack.enter_context(self._folder.locked()))
            yield

    def load_weights(self, model: torch.nn.Module) -> None:
        self._workers.first_does(lambda: self._folder.load_weights(model))
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
