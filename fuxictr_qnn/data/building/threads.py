"""Work at the same time: polars, pyarrow, NumPy and the disk let Python's threads go on beside them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(action: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`action` of each item, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(action, items))


def in_turn(action: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`action` of each item, in their order, by so many threads; one item more than that is taken at most."""
    with ThreadPoolExecutor(workers) as pool:
        coming: deque[Future[R]] = deque()
        for item in items:
            coming.append(pool.submit(action, item))
            if len(coming) > workers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order; while one is used, a thread makes the next."""
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item
