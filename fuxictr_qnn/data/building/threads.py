"""Work at the same time: polars, pyarrow, NumPy and the disk let Python's threads go on beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(action: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`action` of each item, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(action, items))


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The items in their order; while one is used, a thread makes the next."""
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item
