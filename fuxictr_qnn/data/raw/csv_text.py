"""CSV as bytes: its header line, its rows in pieces, and where a piece is out of shape."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fuxictr_qnn.errors import RequestError, shown

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TAIL = 1 << 16
LONGEST_ROW = 256 << 20  # bytes; beyond it a quote was never closed
OTHER_FILES = {  # first bytes -> what the file is, and the remedy
    b"\x1f\x8b": "is compressed (gzip): unpack it first",
    b"PK\x03\x04": "is compressed (zip): unpack it first",
    b"BZh": "is compressed (bzip2): unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed (zstd): unpack it first",
    b"PAR1": "is a parquet file: set data_format: parquet",
    b"\xff\xfe": "is UTF-16 text: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "is UTF-16 text: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
}
USUAL_SEPARATORS = ("\t", ";", "|", ",")


def read_text(file: Path) -> str:
    """A whole file of UTF-8 lines: no byte order mark, lines end with LF, the last one without.

    Raises:
        RequestError: bytes that are not UTF-8.
    """
    raw = file.read_bytes().removeprefix(BYTE_ORDER_MARK).replace(b"\r\n", b"\n").rstrip(b"\n")
    return decoded(raw, file, 1)


def decoded(raw: bytes, file: Path, first: int) -> str:
    """Lines of a file as text.

    Args:
        first: the number of the first of them, from 1.

    Raises:
        RequestError: bytes that are not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = first + raw.count(b"\n", 0, error.start)
        raise RequestError(not_utf8(file, line, raw[error.start])) from None


def header(file: Path, separator: str) -> list[str]:
    """The column names as they are written, repeated ones repeated.

    Raises:
        RequestError: the file is something else, or its first line is no header of several columns.
    """
    with open(file, "rb") as source:
        line = _header_line(source)
    for opening, what in OTHER_FILES.items():
        if line.startswith(opening):
            raise RequestError(f"'{file}' {what}")
    if b"\0" in line:
        raise RequestError(not_text(file, 1))
    text = decoded(line.removeprefix(BYTE_ORDER_MARK), file, 1).rstrip("\r\n")
    if not text.strip():
        raise RequestError(f"'{file}', line 1 is blank: it must name the columns")
    if "\r" in text and '"' not in text:
        raise RequestError(f"'{file}' ends its lines with CR alone: convert them to LF (tr '\\r' '\\n')")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    other = [mark for mark in USUAL_SEPARATORS if mark != separator and mark in names[0]]
    if len(names) == 1 and other:
        raise RequestError(
            f"'{file}' has one column {shown(names[0])}, split at {shown(separator)}: "
            f"set separator: {shown(other[0])}"
        )
    return names


def not_utf8(file: Path, line: int, byte: int) -> str:
    """The sentence about a byte that belongs to another encoding."""
    return (
        f"'{file}', line {line}: byte 0x{byte:02x} is not UTF-8 text: convert the file "
        "(iconv -f LATIN1 -t UTF-8, if that is what it is)"
    )


def not_text(file: Path, line: int) -> str:
    """The sentence about a NUL byte."""
    return f"'{file}', line {line} holds a NUL byte, which no text has: remove it (tr -d '\\000')"


def pieces(file: Path, size: int) -> Iterator[tuple[int, bytes]]:
    """The rows after the header in pieces of about `size` bytes, each with its place in the file.

    Blank lines at the end of the file belong to no piece.

    Raises:
        RequestError: a quote that is never closed.
    """
    with open(file, "rb") as source:
        offset, end = len(_header_line(source)), file.stat().st_size
        while offset < end:
            text = _rows_at(source, offset, size, end)
            if text.count(b'"') % 2:
                opened = line_of(file, offset + _row_end(text))
                raise RequestError(
                    f"'{file}', line {opened}: a quote is opened and never closed: close it, "
                    "or double each quote that is part of a text and put that text in quotes"
                )
            if text.lstrip(b"\r\n"):
                yield offset, text
            offset += len(text)


def _rows_at(source: io.BufferedReader, offset: int, size: int, end: int) -> bytes:
    """Complete rows from `offset` on: some `size` bytes, more where rows are longer, else what is left.

    A look at the last bytes finds where to end, so that the rows are read in one piece: copying them would
    take as long as reading. Blank lines at the end wait for a row behind them.
    """
    while offset + size < end and size <= LONGEST_ROW:
        start = max(offset, offset + size - _TAIL)
        source.seek(start)
        length = start - offset + source.read(offset + size - start).rfind(b"\n") + 1
        source.seek(offset)
        text = source.read(length)
        if not text.endswith(b"\n") or text.count(b'"') % 2:  # no line end there, or it is part of a text
            text = text[: _row_end(text)]
        if text.lstrip(b"\r\n"):
            return _without_blank_lines(text)
        size *= 2
    source.seek(offset)
    return _without_blank_lines(source.read(end - offset))


def _without_blank_lines(text: bytes) -> bytes:
    """The rows up to the last that is not blank, if there is one."""
    if text.endswith((b"\n\n", b"\n\r\n")) and (rows := text.rstrip(b"\r\n")):
        return text[: text.index(b"\n", len(rows)) + 1]
    return text


def _header_line(source: io.BufferedReader) -> bytes:
    line = source.readline()
    while line.count(b'"') % 2 and (more := source.readline()):  # a quoted name with a line end in it
        line += more
    return line


def _row_end(text: bytes) -> int:
    """Length of the complete rows in `text`: up to the last line end outside of quotes."""
    end = text.rfind(b"\n") + 1
    quotes = text.count(b'"', 0, end)
    while end and quotes % 2:
        start = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', start, end)
        end = start
    return end


def line_of(file: Path, offset: int) -> int:
    """The number, from 1, of the line that holds the byte at `offset`."""
    lines = 1
    with open(file, "rb") as source:
        while offset > 0 and (chunk := source.read(min(offset, 1 << 24))):
            lines += chunk.count(b"\n")
            offset -= len(chunk)
    return lines


def line_of_row(file: Path, offset: int, row: int) -> int:
    """The number, from 1, of the line on which a row begins: the `row`-th, from 0, from `offset` on."""
    line, quotes = line_of(file, offset), 0
    with open(file, "rb") as source:
        source.seek(offset)
        for text in source:
            if quotes % 2 == 0:
                if row == 0:
                    break
                row -= 1
            quotes += text.count(b'"')
            line += 1
    return line


def in_shape(text: bytes, separator: str, columns: int) -> bool:
    """Whether every row has as many fields as there are columns: what `misshapen` finds out, but fast."""
    mark = separator.encode()
    found = text.translate(None, bytes(range(256)).translate(None, mark + b'\n"'))
    if b'"' in found:
        found = re.sub(rb'"[^"]*"', b"", found.replace(b'""', b""))
    if not text.endswith(b"\n"):
        found += b"\n"
    return found == (mark * (columns - 1) + b"\n") * found.count(b"\n")


def misshapen(text: bytes, separator: str, columns: int) -> tuple[int, int] | None:
    """The first row that has not as many fields as there are columns: where it starts, and how many it has.

    A blank row has 0 fields. None: all rows are in shape.
    """
    marks = np.frombuffer(text, np.uint8)
    outside = np.bitwise_xor.accumulate((marks == ord('"')).view(np.uint8)) == 0
    ends = np.flatnonzero((marks == ord("\n")) & outside)
    if not text.endswith(b"\n"):
        ends = np.append(ends, len(text))
    separators = np.flatnonzero((marks == ord(separator)) & outside)
    fields = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    wrong = np.flatnonzero(fields != columns)
    if not len(wrong):
        return None
    start = int(ends[wrong[0] - 1]) + 1 if wrong[0] else 0
    blank = not text[start : ends[wrong[0]]].strip(b"\r\n")
    return start, 0 if blank else int(fields[wrong[0]])
