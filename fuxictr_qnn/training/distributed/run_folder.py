"""The run folder of several workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
            return lambda *args, **kwargs: self._workers.first_does(
                lambda: getattr(self._folder, name)(*args, **kwargs)
            )
        return self._workers.first_does(lambda: getattr(self._folder, name))

    def locked(self) -> AbstractContextManager[None]:
        return self._of_the_first(self._folder.locked)

    def logged(self) -> AbstractContextManager[None]:
        return self._of_the_first(self._folder.logged)

    @contextmanager
    def _of_the_first(self, context: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        with ExitStack() as stack:
            self._workers.first_does(lambda: stack.enter_context(context()))
            yield

    def load_weights(self, model: torch.nn.Module) -> None:
        self._workers.first_does(lambda: self._folder.load_weights(model))
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
