"""Columns that never change within a user, found on a random part of the users while rows pass by."""

from __future__ import annotations

import numpy as np
import polars as pl

from fuxictr_qnn.data.quality.audit.hashing import mixed

USERS = 20_000  # held at most; of more, those with the smallest hashes


class Constancy:
    """For each user the smallest and the largest hash in every column: equal where nothing changes."""

    def __init__(self, user: str, names: list[str]):
        self._user = user
        self._names = [name for name in names if name != user]
        self._held: pl.DataFrame | None = None
        self._limit = np.uint64(2**64 - 1)

    def add(self, hashes: dict[str, np.ndarray]) -> None:
        """Look at one more block."""
        order = mixed(hashes[self._user])
        chosen = np.flatnonzero(order <= self._limit)
        frame = pl.DataFrame(
            {"user": order[chosen], "rows": np.ones(len(chosen), np.uint32)}
            | {f"min {name}": hashes[name][chosen] for name in self._names}
        ).with_columns(pl.col(f"min {name}").alias(f"max {name}") for name in self._names)
        if self._held is not None:
            frame = pl.concat([self._held, frame.select(self._held.columns)])
        held = frame.group_by("user").agg(
            pl.col("rows").sum(), pl.col("^min .*$").min(), pl.col("^max .*$").max()
        )
        if held.height > USERS:
            held = held.bottom_k(USERS, by="user")
            self._limit = np.uint64(held["user"].max())
        self._held = held

    def result(self) -> tuple[list[str], int]:
        """The columns that are constant within each user of two rows or more, and how many such users."""
        if self._held is None:
            return [], 0
        held = self._held.filter(pl.col("rows") > 1)
        names = [name for name in self._names if (held[f"min {name}"] == held[f"max {name}"]).all()]
        return names if held.height else [], held.height
