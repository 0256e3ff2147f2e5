"""Values: unknown to training, always the same, missing, or the same for all rows of a user."""

from __future__ import annotations

import numpy as np
import polars as pl

from fuxictr_qnn.data.quality.audit.counts import look_up, masked, total
from fuxictr_qnn.data.quality.audit.finding import (
    MISSING_WARNING,
    UNSEEN_NOTE,
    UNSEEN_SEVERE,
    UNSEEN_WARNING,
    Finding,
    percent,
    some,
)
from fuxictr_qnn.data.quality.audit.gathering import Gathered
from fuxictr_qnn.data.quality.audit.hashing import SEED
from fuxictr_qnn.data.quality.audit.rows import HISTORY, ID, TOKENS, VALUE, Column

# empty cells, and the padding of lists
_NOTHING = np.concatenate(
    [masked(pl.Series([None, cell]).hash(SEED).to_numpy()) for cell in ("", 0)]
)  # fmt: skip


def unseen(found: Gathered) -> list[Finding]:
    """Features of valid and test whose values training has never, or too seldom for an id of their own."""
    columns = [column for column in found.columns(VALUE, TOKENS, HISTORY) if not column.bucketed]
    findings = []
    for name in found.others:
        shares = {column.name: _unseen_share(found, name, column) for column in columns}
        worst = sorted((column for column in columns), key=lambda column: -shares[column.name][1])
        numbers = {
            "split": name,
            "never_in_training": {column: never for column, (never, _) in shares.items()},
            "unknown_id": {column: rare for column, (_, rare) in shares.items()},
        }
        strange = [column.name for column in columns if shares[column.name][0] >= UNSEEN_SEVERE]
        if strange:
            sentence = (
                f"{name}: nearly no value of {some(strange)} occurs in training: is it written in another "
                "way (1 and 1.0, blanks), or were the splits cut by it? No model can learn these values"
            )
            findings.append(Finding("unseen ids", "severe", sentence, numbers))
            continue
        shown = [column for column in worst if shares[column.name][1] >= UNSEEN_NOTE]
        if not shown:
            sentence = f"{name}: less than {percent(UNSEEN_NOTE)} unknown ids in every feature"
            findings.append(Finding("unseen ids", "ok", sentence, numbers))
            continue
        parts = [_words(column, *shares[column.name]) for column in shown[:6]]
        more = f" and {len(shown) - 6} more features" if len(shown) > 6 else ""
        top = shares[shown[0].name][1]
        sentence = f"{name}: cells that get the id for unknown values: {', '.join(parts)}{more}"
        if any(column.min_count > 1 for column in shown):
            sentence += "; that is never in training, or fewer times than min_categr_count"
        findings.append(
            Finding("unseen ids", "warning" if top >= UNSEEN_WARNING else "note", sentence, numbers)
        )
    return findings


def _words(column: Column, never: float, rare: float) -> str:
    what = "tokens of " if column.kind in (TOKENS, HISTORY) else ""
    never_seen = f" (never: {percent(never)})" if column.min_count > 1 else ""
    return f"{what}{column.name} {percent(rare)}{never_seen}"


def _unseen_share(found: Gathered, split: str, column: Column) -> tuple[float, float]:
    """Shares of a split's cells (or tokens) whose value is never, or too seldom, in training."""
    tables = "tokens" if column.kind in (TOKENS, HISTORY) else "counts"
    train = getattr(found.splits["train"], "counts" if column.whole_cells else tables)[column.name]
    other = getattr(found.splits[split], tables)[column.name]
    values = other["value"].to_numpy()
    times, _ = total(other)
    nothing = _NOTHING if column.kind in (TOKENS, HISTORY) else _NOTHING[:2]  # 0 may be a value
    times = np.where(np.isin(values, nothing), 0.0, times)
    in_train, _ = total(train)
    seen = look_up(train, values, in_train, 0.0)
    cells = max(times.sum(), 1.0)
    return float(times[seen == 0].sum() / cells), float(times[seen < column.min_count].sum() / cells)


def shared_users(found: Gathered) -> list[Finding]:
    """Users (and other meta columns) of valid and test that training does not know."""
    names = [found.user] if found.user else []
    names += [column.name for column in found.columns(ID) if column.name != found.user]
    findings = []
    for column in names:
        known = found.splits["train"].counts[column]["value"].to_numpy()
        for name, split in found.others.items():
            values = split.counts[column]["value"].to_numpy()
            rows, _ = total(split.counts[column])
            new = ~np.isin(values, known)
            users, share = int(new.sum()), float(rows[new].sum() / rows.sum())
            guessed = (
                " (taken for the user by its name)" if found.user_guessed and column == found.user else ""
            )
            numbers = {
                "split": name,
                "column": column,
                "ids": len(values),
                "new": users,
                "rows_of_new": share,
            }
            sentence = (
                f"{name}: {users:,} of {len(values):,} ids of {column}{guessed} are not in training "
                f"({percent(share)} of the rows)"
            )
            severity = "ok"
            if users == len(values):
                severity, sentence = "note", f"{name}: shares no id of {column}{guessed} with training"
            elif share >= UNSEEN_NOTE:
                severity = "note"
            findings.append(Finding("users", severity, sentence, numbers))
    return findings


def constant(found: Gathered) -> list[Finding]:
    """Columns that say nothing: one value, or nothing at all."""
    train = found.splits["train"]
    empty = [name for name, cells in train.empty.items() if cells == train.rows]
    tables = {column.name: train.counts.get(column.name) for column in found.data.columns}
    same = [name for name, table in tables.items() if table is not None and table.height == 1]
    same = [name for name in same if name not in empty]
    numbers = {"constant": same, "empty": empty}
    parts = [f"{some(empty)}: all cells of training are missing"] if empty else []
    parts += [f"{some(same)}: the same value in every row of training"] if same else []
    if not parts:
        return [Finding("constant columns", "ok", "every column has several values", numbers)]
    return [
        Finding("constant columns", "note", f"{'; '.join(parts)}. A model gains nothing from it", numbers)
    ]


def constant_in_user(found: Gathered) -> list[Finding]:
    """Columns that are properties of the user."""
    names, users = found.constant_in_user
    varied = [name for name in names if _height(found, name) != 1]
    if found.user is None or not users:
        return []
    numbers = {"user": found.user, "users": users, "columns": varied}
    guessed = " (taken for the user by its name)" if found.user_guessed else ""
    if not varied:
        sentence = f"no column is the same in all rows of each {found.user}{guessed}"
        return [Finding("constant in user", "ok", sentence, numbers)]
    sentence = (
        f"{some(varied, 12)}: the same in all rows of each of {users:,} {found.user}{guessed}: properties of "
        "the user; a history among them was taken at one moment, and may hold what came after a row"
    )
    return [Finding("constant in user", "note", sentence, numbers)]


def _height(found: Gathered, name: str) -> int | None:
    table = found.splits["train"].counts.get(name)
    return None if table is None else table.height


def missing(found: Gathered) -> list[Finding]:
    """Columns that are missing much more often in one split than in training."""
    train = found.splits["train"]
    findings = []
    for name, split in found.others.items():
        rates = {
            column: (train.empty[column] / train.rows, split.empty[column] / split.rows)
            for column in split.empty
            if column in train.empty
        }
        differ = [column for column, (a, b) in rates.items() if abs(a - b) >= MISSING_WARNING]
        if differ:
            words = [
                f"{column} {percent(rates[column][1])} (training {percent(rates[column][0])})"
                for column in differ
            ]
            sentence = f"{name}: cells missing: {some(words)}: the splits were not made in the same way"
            numbers = {"split": name, "missing": {column: rates[column] for column in differ}}
            findings.append(Finding("missing cells", "warning", sentence, numbers))
    return findings
