"""The processes that train one model together, as the rest of the training sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

if TYPE_CHECKING:
    from fuxictr_qnn.runs.scores import Scores
    from fuxictr_qnn.training.run_folder import RunFolder

T = TypeVar("T")


class Workers:
    """One process alone, which has nobody to talk to; `group.WorkerGroup` is several.

    Every worker calls the same methods in the same order: most of them wait for the others.

    Attributes:
        rank: of this worker, from 0; the first one writes, logs and judges.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    # Training

    def adopt(self, model: nn.Module, seed: int) -> None:
        """Same weights on all workers, dropout masks of each one's own, batch norm over whole batches."""

    def share(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        """This worker's rows of a batch, and what part of the batch they are."""
        return batch, 1.0

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum the gradients of all workers, in place; returns the sum of their losses."""
        return loss

    # Evaluation

    def part(self, loader: Iterable) -> Iterable:
        """The batches of a loader that this worker scores."""
        return loader

    def join(self, scores: Scores) -> Scores:
        """The scores of all workers in loader order; complete on the first worker only."""
        return scores

    # Agreement

    def first_does(self, action: Callable[[], T]) -> T:
        """What `action` returns or raises on the first worker, which alone does it."""
        return action()

    def first_then_all(self, action: Callable[[], T]) -> T:
        """`action` on the first worker, then on the others: what it leaves on disk is made once."""
        return action()

    def all_do(self, action: Callable[[], T]) -> T:
        """`action` on every worker; if it fails on one it fails on all, and the first says why."""
        return action()

    def gather(self, value: T) -> list[T]:
        """The values of all workers, by rank; complete on the first worker only."""
        return [value]

    def folder(self, folder: RunFolder) -> Any:
        """The run folder, which only the first worker reads and writes."""
        return folder


ALONE = Workers()
