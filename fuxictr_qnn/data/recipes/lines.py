"""Large text files line by line, without taking them apart: lines are checked and sent on as they are.

What is not worth a data frame (11 GB of which one column decides) is bytes here, in blocks of whole lines.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fuxictr_qnn.data.raw.csv_text import BYTE_ORDER_MARK, decoded, header
from fuxictr_qnn.data.recipes.recipe import Counts
from fuxictr_qnn.errors import RequestError, shown

BLOCK_BYTES = 32 << 20
NEWLINE, COMMA, TAB = b"\n", b",", b"\t"


@dataclass(frozen=True)
class Lines:
    """Some whole lines of a file.

    Attributes:
        file: where they are from.
        first: number of the first one in the file, from 1.
        text: their bytes, each line with its newline; no carriage returns.
        separator: between cells, one byte.
    """

    file: Path
    first: int
    text: bytes
    separator: bytes

    @cached_property
    def bytes(self) -> np.ndarray:
        return np.frombuffer(self.text, np.uint8)

    @cached_property
    def ends(self) -> np.ndarray:
        """Position of each line's newline."""
        return np.flatnonzero(self.bytes == ord(NEWLINE))

    @cached_property
    def starts(self) -> np.ndarray:
        return np.concatenate([[0], self.ends[:-1] + 1])

    def __len__(self) -> int:
        return len(self.ends)

    def line(self, at: int) -> str:
        return self.text[self.starts[at] : self.ends[at]].decode()

    def labels(self, column: int, width: int) -> np.ndarray:
        """The cells of one column as int8, in lines that must have `width` cells.

        Raises:
            RequestError: the first line of another width, or with another label than 0 and 1.
        """
        separators = np.flatnonzero(self.bytes == ord(self.separator))
        first = np.searchsorted(separators, self.starts)  # of each line's separators
        counts = np.diff(first, append=len(separators))
        wrong = counts != width - 1
        bounds = np.concatenate([separators, [0]])
        at = np.minimum(first + column, len(separators))
        left = self.starts if column == 0 else bounds[at - 1] + 1
        right = self.ends if column == width - 1 else bounds[at]
        cells = self.bytes[np.minimum(left, len(self.bytes) - 1)].astype(np.int16) - ord("0")
        wrong |= (right - left != 1) | (cells < 0) | (cells > 1)
        for line in np.flatnonzero(wrong):
            cells[line] = self._label(line, column, width)  # quoted cells, or a problem
        return cells.astype(np.int8)

    def _label(self, at: int, column: int, width: int) -> int:
        place = f"'{self.file}', line {self.first + at}"
        cells = next(csv.reader([self.line(at)], delimiter=self.separator.decode()), [])
        if len(cells) != width:
            raise RequestError(f"{place}: has {len(cells)} cells, not {width}")
        if cells[column] not in ("0", "1"):
            raise RequestError(f"{place}: the label is {shown(cells[column])}, not 0 or 1")
        return int(cells[column])

    def refuse(self, text: bytes, what: str) -> None:
        """RequestError for the first place that holds `text`; a newline stands before each line, too."""
        position = (NEWLINE + self.text).find(text)
        if position >= 0:
            number = self.first + self.text.count(NEWLINE, 0, position)
            raise RequestError(f"'{self.file}', line {number}: {what}")

    def send(self, targets: np.ndarray, files: Sequence[BinaryIO]) -> None:
        """Write each line to the file whose number is in `targets`, the order kept."""
        of_bytes = np.repeat(targets, np.diff(self.ends, prepend=-1))
        for number in np.unique(targets):
            files[number].write(self.bytes[of_bytes == number])


def check_header(file: Path, expected: Sequence[str], source: str) -> list[str]:
    """The names of a file's columns, in its order; there may be more than the expected ones.

    Raises:
        RequestError: columns that are missing or doubled, in one sentence.
    """
    try:
        found = header(file, COMMA.decode())
    except RequestError as error:
        raise RequestError(f"{problem}; needed is {source}" for problem in error.problems) from error
    missing = [name for name in expected if name not in found]
    doubled = [name for name in expected if found.count(name) > 1]
    parts = [f"lacks the columns {', '.join(missing)}"] if missing else []
    parts += [f"has {', '.join(doubled)} twice"] if doubled else []
    if parts:
        begins = shown(",".join(found))
        raise RequestError(f"'{file}' {' and '.join(parts)} (it begins with {begins}); needed is {source}")
    return found


def read_lines(file: Path, separator: bytes = COMMA, titled: bool = True) -> Iterator[Lines]:
    """The lines of a file in blocks, without the header line; line ends may be CRLF.

    Args:
        titled: whether there is a header line.

    Raises:
        RequestError: bytes that are not UTF-8, an empty line, the header line once more.
    """
    with open(file, "rb") as source:
        title = _first_line(source) if titled else b""
        number, rest = 1 + titled, b"" if titled else source.read(3).removeprefix(BYTE_ORDER_MARK)
        while chunk := source.read(BLOCK_BYTES):
            rest += chunk
            last = rest.rstrip(b"\r\n") if rest.endswith(NEWLINE) else rest[: rest.rfind(NEWLINE) + 1]
            end = rest.find(NEWLINE, max(len(last) - 1, 0)) + 1 if last else 0
            if end:
                yield (block := _checked(Lines(file, number, _text(rest[:end]), separator), title))
                number, rest = number + len(block), rest[end:]
        if rest := rest.rstrip(b"\r\n"):
            yield _checked(Lines(file, number, _text(rest + NEWLINE), separator), title)


def _first_line(source: BinaryIO) -> bytes:
    return source.readline().rstrip(b"\r\n").removeprefix(BYTE_ORDER_MARK)


def _text(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", NEWLINE)


def _checked(lines: Lines, title: bytes) -> Lines:
    decoded(lines.text, lines.file, lines.first)
    lines.refuse(b"\r", "has a carriage return within the line; line ends are LF or CRLF")
    lines.refuse(NEWLINE + NEWLINE, "is empty")
    if title:
        again = "is the header line once more; were files joined? Remove it"
        lines.refuse(NEWLINE + title + NEWLINE, again)
    return lines


def distribute(blocks: Iterable[Lines], targets: np.ndarray, files: dict[Path, bytes]) -> None:
    """Write each line to one of the files, the order kept.

    Args:
        targets: for each line the number of its file.
        files: each with the line that it begins with (empty: none).
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(open(file, "wb")) for file in files]
        for file, title in zip(opened, files.values(), strict=True):
            file.write(title)
        at = 0
        for lines in blocks:
            lines.send(targets[at : at + len(lines)], opened)
            at += len(lines)


def read_labels(blocks: Iterable[Lines], column: int, width: int) -> np.ndarray:
    """`Lines.labels` of all blocks."""
    return np.concatenate([np.empty(0, np.int8), *(lines.labels(column, width) for lines in blocks)])


def sizes(splits: dict[str, float], rows: int) -> np.ndarray:
    """Rows of each split: the differences of the shares' sums times the number of rows, rounded down."""
    shares = np.cumsum(list(splits.values()))
    ends = [*(int(share * rows) for share in shares[:-1].round(9)), rows]
    return np.diff(ends, prepend=0)


def draw(splits: dict[str, float], rows: int, seed: int) -> np.ndarray:
    """The number of each row's split, at random. RandomState: its stream is promised never to change."""
    targets = np.repeat(np.arange(len(splits), dtype=np.int8), sizes(splits, rows))
    np.random.RandomState(seed).shuffle(targets)
    return targets


def cut(file: Path, label: str, splits: dict[str, float], seed: int, folder: Path) -> dict[str, Counts]:
    """Cut a CSV file at random into several with the same header; lines stay as they are, in its order.

    Args:
        label: name of the column with the labels.
        splits: name of each file to write into `folder` -> its share of the rows.
    """
    names = header(file, COMMA.decode())
    labels = read_labels(read_lines(file), names.index(label), len(names))
    targets = draw(splits, len(labels), seed)
    with open(file, "rb") as source:
        title = _first_line(source) + NEWLINE
    distribute(read_lines(file), targets, {folder / name: title for name in splits})
    rows = np.bincount(targets, minlength=len(splits))
    positives = np.bincount(targets, weights=labels, minlength=len(splits))
    return {name: Counts(int(rows[at]), int(positives[at])) for at, name in enumerate(splits)}
