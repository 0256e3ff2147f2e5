"""What can go wrong, said in one message.

Two kinds only, and each has its exit code: the request or its input is wrong (2),
or something failed while running (1).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Any


class FuxictrError(Exception):
    """A failure that is explained by its message; a traceback adds nothing for the user."""

    exit_code = 1


class RunError(FuxictrError):
    """The request was sound, but running it failed (a loss that is not finite, a full disk)."""

    exit_code = 1


class CutShort(RunError):
    """A run ended where it can go on (a full disk).

    Args:
        what: a sentence without the remedy, which differs between commands.
    """

    def __init__(self, what: str):
        self.what = what
        super().__init__(f"{what}; --resume goes on")

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.what,)


class Busy(CutShort):
    """Another process is at the run."""


class RequestError(FuxictrError):
    """The request or its input is wrong. Holds every problem found, not only the first.

    Args:
        problems: one sentence or several; each names the file and key, and the remedy.
    """

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type, tuple[list[str]]]:  # from one process to another
        return type(self), (self.problems,)


def do_all(actions: Iterable[Callable[[], Any]]) -> None:
    """Do every action; what goes wrong with one keeps no other from being done.

    Raises:
        RequestError, RunError: all that went wrong; one while running outweighs wrong requests.
    """
    failures: list[FuxictrError] = []
    for action in actions:
        try:
            action()
        except (RequestError, RunError) as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    problems = [problem for error in failures for problem in getattr(error, "problems", [str(error)])]
    if any(isinstance(error, RunError) for error in failures):
        raise RunError("\n".join(problems))
    if problems:
        raise RequestError(problems)


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """` Did you mean 'a' or 'b'?` for the known names closest to `name`; empty if none is close."""
    by_lower = {str(item).lower(): str(item) for item in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=count, cutoff=0.6)
    if not close:
        return ""
    return " Did you mean " + " or ".join(f"'{by_lower[item]}'" for item in close) + "?"


def unknown(what: str, name: Any, known: Collection[str]) -> str:
    """`unknown WHAT 'name'; known: a, b.` and the nearest of the known names, where one is close."""
    return f"unknown {what} {name!r}; known: {', '.join(known)}.{nearest(name, known)}"


def last_line(error: Exception) -> str:
    """Of an error's message: Ray says the cause there, below the tracebacks of its workers."""
    return str(error).strip().split("\n")[-1]


def shown(value: Any) -> str:
    """A value as a message shows it: as written in Python, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
