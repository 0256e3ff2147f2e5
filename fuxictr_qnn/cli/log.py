"""What a run says while it runs: one line a message on stdout."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Lines(logging.Handler):
    """Prints through whatever sys.stdout is at that moment, so that a progress bar stays in one piece."""

    def emit(self, record: logging.LogRecord) -> None:
        loud = "WARNING: " if record.levelno >= logging.WARNING else ""
        print(f"{loud}{record.getMessage()}", flush=True)


@contextmanager
def log_to_stdout() -> Iterator[None]:
    """Show this package's messages; FuxiCTR's many own ones go to the run's log only."""
    logger, root = logging.getLogger("fuxictr_qnn"), logging.getLogger()
    lines, quiet = _Lines(), logging.NullHandler()
    level = logger.level
    root.addHandler(quiet)  # otherwise the first logging.info() gives the root a handler on stderr
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(lines)
        root.removeHandler(quiet)
