"""What ends one source, and what ends all of them."""

from __future__ import annotations

import errno
from pathlib import Path

from fuxictr_qnn.errors import RunError

FULL = (errno.ENOSPC, errno.EDQUOT)


class SourceFailed(Exception):
    """This source did not give the data; another one may. The message is one line without the source."""


def raise_if_full(error: BaseException, folder: Path) -> None:
    """RunError if a disk without room is behind an error: no other source would help."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            raise RunError(
                f"the disk that holds '{folder}' is full: make room, then the same command goes on"
            ) from error
        error = error.__cause__ or error.__context__
