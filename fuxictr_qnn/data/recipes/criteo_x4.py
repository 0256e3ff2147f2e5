"""Criteo_x4 from Kaggle's train.txt (display advertising challenge, 45,840,617 rows, 11 GB).

Source file: train.txt, tab separated without a header line: label, 13 counts, 26 hashed categories.

Rules: ten folds with the same share of positives, as scikit-learn 0.19.1's StratifiedKFold(10,
shuffle=True, random_state=2018) made them (today's makes others). test.csv is fold 0, valid.csv fold 1,
train.csv folds 2 to 9 one after another; within a fold rows stand in the order of train.txt. Cells are
copied as they are; train.csv etc. are comma separated with a header line.

Sizes come out as published: 36,672,493 / 4,584,062 / 4,584,062. Whether the bytes are the published ones,
too, `fuxictr data check criteo_x4` tells by their md5.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.lines import COMMA, TAB, Lines, distribute, read_labels, read_lines
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe

FOLDS = 10
SEED = 2018
COLUMNS = ["Label", *(f"I{number}" for number in range(1, 14)), *(f"C{number}" for number in range(1, 27))]
SOURCE = "Criteo's train.txt from Kaggle's display advertising challenge (tabs, no header line, 40 columns)"


def folds_of(labels: np.ndarray) -> np.ndarray:
    """The fold of each row, as int8: within each class a KFold over its rows shuffled.

    Each class has a fresh RandomState(2018), and the first n % 10 folds of a class of n rows have one row
    more than the others.

    Args:
        labels: 0 or 1 for each row.
    """
    folds = np.empty(len(labels), np.int8)
    for label in (0, 1):
        rows = int((labels == label).sum())
        order = np.arange(rows, dtype=np.int32)
        np.random.RandomState(SEED).shuffle(order)
        sizes = np.full(FOLDS, rows // FOLDS)
        sizes[: rows % FOLDS] += 1
        of_class = np.empty(rows, np.int8)
        of_class[order] = np.repeat(np.arange(FOLDS, dtype=np.int8), sizes)
        folds[labels == label] = of_class
    return folds


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """Two passes over the text: labels (2 bytes a row are kept), then each line to its fold's file."""
    file = sources["train"]
    log(f"reading the labels of {file}")
    labels = read_labels(_checked(file), 0, len(COLUMNS))
    folds = folds_of(labels)
    title = ",".join(COLUMNS).encode() + b"\n"
    parts = [folder / f"fold{number}" for number in range(FOLDS)]
    log(f"writing {len(labels):,} rows in {FOLDS} folds")
    files = {part: title if number < 3 else b"" for number, part in enumerate(parts)}
    distribute(_with_commas(file), folds, files)
    _append(parts[2], parts[3:])
    counts = {}
    for name, part, members in (
        ("train.csv", parts[2], folds > 1),
        ("valid.csv", parts[1], folds == 1),
        ("test.csv", parts[0], folds == 0),
    ):
        part.rename(folder / name)
        counts[name] = Counts(int(members.sum()), int(labels[members].sum()))
    return counts


def _checked(file: Path) -> Iterator[Lines]:
    for lines in read_lines(file, TAB, titled=False):
        for text in (COMMA, b'"'):
            lines.refuse(text, f"holds {text.decode()}, so it is not {SOURCE}")
        yield lines


def _with_commas(file: Path) -> Iterator[Lines]:
    for lines in read_lines(file, TAB, titled=False):
        yield Lines(file, lines.first, lines.text.replace(TAB, COMMA), COMMA)


def _append(target: Path, parts: list[Path]) -> None:
    """The parts to the end of a file; each is removed when it is there."""
    with open(target, "ab") as whole:
        for part in parts:
            with open(part, "rb") as source:
                while chunk := source.read(16 << 20):
                    whole.write(chunk)
            part.unlink()


RECIPE = Recipe(
    source=SOURCE,
    needs={"train": ("train.txt",)},
    makes=("train.csv", "valid.csv", "test.csv"),
    write=write,
)
