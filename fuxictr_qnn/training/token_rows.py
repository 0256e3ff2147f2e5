"""Which row of an embedding table of one build is which row of another's: the rows of the same token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fuxictr_qnn.errors import RequestError

SPECIAL = ("__PAD__", "__OOV__")
_IDS = range(2**31)  # int32, as the build writes them


@dataclass(frozen=True)
class RowMap:
    """Rows of the same meaning, and how many tokens have them.

    Attributes:
        new, old: row numbers, one pair after another.
        size: how many rows the old table has by what is known of its ids; None where nothing is.
        tokens: carried (in both), new (here only) and gone (there only); None where there are no tokens.
        remark: a sentence about how they were found, where that is not by token.
    """

    new: np.ndarray
    old: np.ndarray
    size: int | None = None
    tokens: dict[str, int] | None = None
    remark: str | None = None


@dataclass(frozen=True)
class Tokens:
    """A feature's vocabulary; tokens as their text in the file.

    Attributes:
        table: columns token and id, without padding and OOV.
        special: the ids of padding and OOV.
    """

    table: pl.DataFrame
    special: dict[str, int]

    @property
    def size(self) -> int:
        """How many rows a table of these ids has: FuxiCTR's vocab_size."""
        return max([self.table["id"].max() or 0, *self.special.values()]) + 1


def read_tokens(file: Path) -> dict[str, Tokens]:
    """Feature -> vocabulary, of a feature_vocab.json.

    Raises:
        RequestError: it is not one.
    """
    try:
        features = json.loads(file.read_text(), object_pairs_hook=list)  # pairs: __OOV__ may be a token, too
        return {name: _tokens(pairs) for name, pairs in features}
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise RequestError(f"'{file}' is no feature_vocab.json ({error})") from None


def _tokens(pairs: list[tuple[str, int]]) -> Tokens:
    if wrong := [pair for pair in pairs if type(pair[1]) is not int or pair[1] not in _IDS]:
        raise ValueError(f"{wrong[0][1]!r} of '{wrong[0][0]}' is no id")
    last = {token: place for place, (token, _) in enumerate(pairs) if token in SPECIAL}
    special = {token: int(pairs[place][1]) for token, place in last.items()}
    rest = [pair for place, pair in enumerate(pairs) if place not in last.values()]
    columns = {"token": [token for token, _ in rest], "id": [number for _, number in rest]}
    return Tokens(pl.DataFrame(columns, schema={"token": pl.String, "id": pl.Int64}), special)


def by_token(new: Tokens, old: Tokens) -> RowMap:
    """Rows of the tokens that both know, of padding and of unknown values."""
    both = new.table.join(old.table, on="token", suffix="_old")
    special = [token for token in SPECIAL if token in new.special and token in old.special]
    rows = [
        np.concatenate([ids.to_numpy(), np.array([of.special[token] for token in special], np.int64)])
        for ids, of in ((both["id"], new), (both["id_old"], old))
    ]
    carried = both.height
    counts = {"carried": carried, "new": new.table.height - carried, "gone": old.table.height - carried}
    return RowMap(*rows, old.size, counts)


def by_bucket(new: dict[str, Any], old: dict[str, Any] | None) -> RowMap:
    """Rows of the same bucket: of the same hash, or with the same place among as many quantiles."""
    nothing = np.arange(0)
    if old is None or old.keys() != new.keys():
        return RowMap(nothing, nothing, remark="it has buckets here and had none of the kind")
    sizes = [state.get("num_buckets", len(state.get("boundaries", ())) + 1) for state in (new, old)]
    if sizes[0] != sizes[1]:
        return RowMap(nothing, nothing, remark=f"it has {sizes[0]} buckets here and had {sizes[1]}")
    rows = np.arange(sizes[0] + 2)
    remark = None if new == old else "bucket k starts as bucket k, whose bounds have moved"
    return RowMap(rows, rows, len(rows), remark=remark)


def by_id(new: int, old: int) -> RowMap:
    """Encoded data: an id means what it meant."""
    rows = np.arange(min(new, old))
    remark = None if new == old else f"encoded data of {new} ids here and {old} there: rows are carried by id"
    return RowMap(rows, rows, remark=remark)
