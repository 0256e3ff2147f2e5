"""Workers on this machine: processes forked by a server (server.py), and their share of cores and GPUs."""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.jobs.job import Began, Ended, Evaluated, Event, Job, Outcome

END_TIMEOUT = 10.0  # seconds that a job has to end by itself

_SERVE = "import sys; from fuxictr_qnn.jobs.server import serve; serve(int(sys.argv[1]))"


class Server:
    """The client's end of a server process."""

    def __init__(self):
        if not hasattr(os, "fork"):
            raise RequestError("this system cannot fork processes: use --backend ray")
        self.connection, theirs = Pipe()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
            "OPENBLAS_NUM_THREADS": "1",  # its threads start with numpy, before the forks; runs use torch's
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C comes to us alone
        )
        theirs.close()
        self._keys = itertools.count()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Return when all is imported; jobs may be started before, and begin then."""
        try:
            self.connection.send(("ready", self.next_key()))
            self.connection.recv()
        except (EOFError, OSError):
            raise _lost() from None

    def next_key(self) -> int:
        """A number that no other job of this server has."""
        return next(self._keys)

    def close(self) -> None:
        """End the server and all that it forked."""
        self.connection.close()
        try:
            self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:  # still importing
            self._process.kill()
            self._process.wait()


_shared: Server | None = None


def shared_server() -> Server:
    """This process's server: started by the first call, which does not wait for its imports."""
    global _shared
    if _shared is None or not _shared.is_alive:
        _shared = Server()
        atexit.register(_shared.close)
    return _shared


class LocalPool:
    """So many workers on this machine.

    Args:
        threads: of each worker.
        gpus: the worker in place i uses GPU i modulo their number; (None,): a GPU if there is one; (-1,): the
            CPU.
        server: that forks them; default: the one that all pools of this process share.
    """

    def __init__(
        self,
        workers: int = 1,
        threads: int = 1,
        gpus: Sequence[int | None] = (None,),
        server: Server | None = None,
    ):
        self.threads, self.gpus = threads, list(gpus)
        self.server = server or shared_server()
        self._places: list[int | None] = [None] * workers  # the key of the job in each place
        self._jobs: dict[int, Job] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._started: dict[int, float] = {}

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for command in ("end", "kill"):
            with suppress(OSError, RunError):
                for key in self._jobs:
                    self.server.connection.send((command, key))
                until = time.monotonic() + END_TIMEOUT
                while self._jobs and time.monotonic() < until:
                    self._receive(until - time.monotonic())

    @property
    def free(self) -> int:
        return self._places.count(None)

    @property
    def running(self) -> list[Job]:
        return list(self._jobs.values())

    def start(self, job: Job) -> None:
        place = self._places.index(None)
        key = self.server.next_key()
        gpu = self.gpus[place % len(self.gpus)]
        try:
            self.server.connection.send(("start", key, job, os.getcwd(), self.threads, gpu))
        except OSError:
            raise _lost() from None
        self._places[place], self._jobs[key], self._started[key] = key, job, time.monotonic()

    def wait(self) -> list[Event]:
        while True:
            if events := self._receive(None):
                return events

    def answer(self, job: Job, go_on: bool) -> None:
        key = next((key for key, other in self._jobs.items() if other is job), None)
        if key is not None:
            with suppress(OSError):  # the next wait says so
                self.server.connection.send(("answer", key, go_on))

    def _receive(self, timeout: float | None) -> list[Event]:
        """The events of one message; none where it takes too long, or says nothing of our jobs."""
        connection: Connection = self.server.connection
        try:
            if timeout is not None and not connection.poll(max(timeout, 0)):
                return []
            key, message = connection.recv()
        except (EOFError, OSError):
            raise _lost() from None
        return self._event(key, message) if key in self._jobs else []

    def _event(self, key: int, message: Any) -> list[Event]:
        job = self._jobs[key]
        if isinstance(message, Outcome):
            self._outcomes[key] = message
            return []
        if isinstance(message, int):
            seconds = round(time.monotonic() - self._started.pop(key), 3)
            self._places[self._places.index(key)] = None
            del self._jobs[key]
            return [Ended(job, self._outcomes.pop(key, None) or _crashed(message, seconds))]
        what, value = message
        return [Began(job, value) if what == "began" else Evaluated(job, value)]


def _lost() -> RunError:
    return RunError(
        "the process that starts the runs is gone; the same command goes on where they were interrupted"
    )


def _crashed(code: int, seconds: float) -> Outcome:
    """The outcome of a process that did not say one."""
    if code >= 0:
        return Outcome("failed", reason=f"its process ended with exit code {code}", seconds=seconds)
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    hint = " (out of memory, perhaps)" if name == "SIGKILL" else ""
    return Outcome("failed", reason=f"its process was killed by {name}{hint}", killed=True, seconds=seconds)
