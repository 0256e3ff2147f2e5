"""Whether the bytes are the published ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fuxictr_qnn.files import hash_of

CHUNK = 1 << 20


def md5_of(file: Path) -> str:
    """The MD5 of a file: what publishers state."""
    return hash_of(file, "md5")


def difference(file: Path, md5: str | None) -> str | None:
    """How a file differs from what was published, as the end of a sentence; None if it does not.

    Args:
        md5: the published one; None: unknown, so nothing differs.
    """
    if md5 is None or (found := md5_of(file)) == md5:
        return None
    ends = " (only its line ends differ: the same rows, but other bytes)" if same_lines(file, md5) else ""
    return f"has md5 {found}, not the expected {md5}{ends}"


def same_lines(file: Path, md5: str) -> bool:
    """Whether a text file has this MD5 once its line ends are LF, or once they are CRLF."""
    return line_ends(file, md5) is not None


def line_ends(file: Path, md5: str) -> str | None:
    """The line ends, "LF" or "CRLF", with which a text file has this MD5; None if with neither."""
    with_lf, with_crlf = (hashlib.md5(usedforsecurity=False) for _ in range(2))
    held = b""
    with open(file, "rb") as source:
        while chunk := source.read(CHUNK):
            chunk = held + chunk
            held = b"\r" if chunk.endswith(b"\r") else b""  # its \n may come with the next chunk
            lines = chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n")
            with_lf.update(lines)
            with_crlf.update(lines.replace(b"\n", b"\r\n"))
    with_lf.update(held)
    with_crlf.update(held)
    return {with_lf.hexdigest(): "LF", with_crlf.hexdigest(): "CRLF"}.get(md5)


def set_aside(file: Path, target: Path) -> Path:
    """Rename a file to `<target>.wrong-md5`, where nothing will take it for the right one."""
    aside = target.with_name(f"{target.name}.wrong-md5")
    aside.parent.mkdir(parents=True, exist_ok=True)
    os.replace(file, aside)
    return aside
