"""A file by HTTP, resumed: what is there of it stays as `<name>.part` until it is complete.

pooch, which does such downloads well, begins again after every interruption and deletes what has the wrong
checksum; files here take hours on slow lines.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.failure import SourceFailed, raise_if_full
from fuxictr_qnn.data.download.meter import Meter
from fuxictr_qnn.data.download.sizes import check_room
from fuxictr_qnn.files import write_json

CONNECT_TIMEOUT, READ_TIMEOUT = 15.0, 60.0  # seconds without a byte
TRIES = 4  # in a row that bring nothing new
PAUSE = 2.0  # seconds before the second try; twice that before the third ...
CHUNK = 1 << 16  # what an interruption may lose
WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)


class _Interrupted(Exception):
    """The server may do better when asked again."""


def name_in(url: str) -> str:
    """The name of the file that a URL points to."""
    return unquote(urlsplit(url).path).rpartition("/")[2] or "download"


def fetch(url: str, part: Path, log: Log) -> None:
    """Download `url` to `part`, going on from the bytes that an earlier call left there.

    They are only used where the server says that they are still of the same file: by its ETag or date,
    which are kept in `<part>.json` beside it. A complete file is left as `part`; renaming is the caller's.

    Raises:
        SourceFailed: an answer other than the file, or TRIES interruptions in a row.
        RequestError: no room for it. RunError: the disk is full.
    """
    most, failures = _size(part), 0
    with Meter(name_in(url), log) as meter:
        while True:
            try:
                return _attempt(url, part, meter)
            except _Interrupted as error:
                size = _size(part)
                failures = 1 if size > most else failures + 1
                most = max(most, size)
                if failures >= TRIES:
                    raise SourceFailed(f"{error} ({TRIES} tries)") from error
                time.sleep(PAUSE * 2 ** (failures - 1))


def forget(part: Path) -> None:
    """Remove a partial file and what is known about it."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, meter: Meter) -> None:
    import requests

    start, seen = _size(part), _validator(part, url)
    if start and not seen:
        forget(part)
        start = 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": seen}
    try:
        timeouts = (CONNECT_TIMEOUT, READ_TIMEOUT)
        with requests.get(url, headers=headers, stream=True, timeout=timeouts) as answer:
            _receive(answer, url, part, start, meter)
    except requests.exceptions.TooManyRedirects as error:
        raise SourceFailed("it redirects in circles") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        if isinstance(_innermost(error), socket.gaierror):
            raise SourceFailed(f"no such host, or no network ({_reason(error)})") from error
        stalled = "timed out" in str(error).lower()
        raise _Interrupted(_stall() if stalled else f"no connection: {_reason(error)}") from error
    except requests.exceptions.Timeout as error:
        raise _Interrupted(_stall()) from error
    except requests.exceptions.RequestException as error:
        raise SourceFailed(_reason(error)) from error
    except OSError as error:
        raise_if_full(error, part.parent)
        raise


def _receive(answer, url: str, part: Path, start: int, meter: Meter) -> None:
    """The body of an answer to the end of `part`, or over it where the server sends the whole file."""
    if answer.status_code == 416:  # nothing after what is there: complete, or of another file
        if answer.headers.get("Content-Range", "").endswith(f"/{start}"):
            return
        forget(part)
        raise _Interrupted("what was there of it did not fit")
    if answer.status_code in WORTH_ANOTHER_TRY:
        raise _Interrupted(_status(answer))
    if answer.status_code not in (200, 206):
        raise SourceFailed(_status(answer))
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise SourceFailed(f"it sends the file in Content-Encoding {answer.headers['Content-Encoding']}")
    validator = _validator_of(answer)
    if answer.status_code == 206:
        right = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not right or validator not in (None, _validator(part, url)):
            forget(part)
            raise _Interrupted("it sent another part than the one asked for")
    else:
        start = 0
        forget(part)
        write_json(_notes(part), {"url": url, "validator": validator})
    length = answer.headers.get("Content-Length", "")
    total = start + int(length) if length.isdigit() else None
    check_room(part.parent, (total or start) - start, f"the rest of {name_in(url)}")
    meter.begin(start, total)
    done = start
    with open(part, "ab") as file:
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            done += len(chunk)
            meter.update(done, total)
    if total is not None and done != total:
        raise _Interrupted(f"the connection ended after {done:,} of {total:,} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _validator(part: Path, url: str) -> str | None:
    """What the server called the file that `part` is the beginning of."""
    try:
        notes = json.loads(_notes(part).read_text())
        return notes["validator"] if notes["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _validator_of(answer) -> str | None:
    """The ETag, unless it is a weak one, which allows other bytes; else the date."""
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _status(answer) -> str:
    return f"{answer.status_code} {answer.reason}".strip()


def _stall() -> str:
    return f"nothing came for {READ_TIMEOUT:g} seconds"


def _innermost(error: BaseException) -> BaseException:
    """The cause of all; the outer ones are about classes and pools."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error


def _reason(error: BaseException) -> str:
    error = _innermost(error)
    return " ".join(str(error).split()) or type(error).__name__
