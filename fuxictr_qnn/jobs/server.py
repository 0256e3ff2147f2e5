"""A process that has imported everything once and forks a process for each job.

Importing torch and FuxiCTR takes seconds, a fork milliseconds. The server computes nothing itself, so that no
pool of threads (OpenMP's, polars', arrow's) is there when it forks: none would work in the forked process.

Client and server talk over one connection, in tuples:

    to the server      ("start", key, job, working directory, threads, gpu)
                       ("answer", key, go on)  ("end", key)  ("kill", key)  ("ready", key)
    to the client      (key, report or Outcome), and as the last word (key, exit code);  (key, "ready")

`key` is the client's number for a job. When the client is gone, the server ends its children and itself.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, NoReturn

from fuxictr_qnn.jobs.job import Job, Outcome

# What a run imports; `torch._dynamo` comes with the first optimizer.
PRELOADED = ("torch._dynamo", "fuxictr_qnn.jobs.work")


@dataclass
class _Child:
    pid: int
    connection: Connection


def serve(handle: int) -> None:
    """Serve the client at the other end of an inherited socket until it goes."""
    with suppress(KeyboardInterrupt):
        _preload()
        _Server(Connection(handle)).run()


def _preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    from fuxictr_qnn.models.registry import OWN_MODELS, find_model

    for name in OWN_MODELS:
        find_model(name)
    logging.getLogger().addHandler(logging.NullHandler())  # else the first message adds one to stderr
    gc.collect()
    gc.freeze()  # else a collection in a child would touch, and so copy, all pages


class _Server:
    def __init__(self, client: Connection):
        self.client = client
        self.children: dict[int, _Child] = {}

    def run(self) -> None:
        while True:
            of_children = {child.connection: key for key, child in self.children.items()}
            for ready in wait([self.client, *of_children]):
                try:
                    if ready is self.client:
                        self._obey(*self.client.recv())
                    else:
                        self._pass_on(of_children[ready])
                except (EOFError, OSError):  # the client is gone
                    return self._end_all()

    def _obey(self, command: str, key: int, *arguments: Any) -> None:
        if command == "start":
            self._start(key, *arguments)
        elif command == "ready":
            self.client.send((key, "ready"))
        elif key in self.children:
            child = self.children[key]
            if command == "answer":
                with suppress(OSError):  # it ended meanwhile
                    child.connection.send(*arguments)
            else:
                os.kill(child.pid, signal.SIGTERM if command == "end" else signal.SIGKILL)

    def _pass_on(self, key: int) -> None:
        """What a child says goes to the client; a child that says nothing more has ended."""
        child = self.children[key]
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            del self.children[key]
            child.connection.close()
            message = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        self.client.send((key, message))

    def _start(self, key: int, *what: Any) -> None:
        try:
            self.children[key] = self._fork(*what)
        except OSError as error:  # too many processes or open files, no memory
            failed = Outcome("failed", reason=f"its process could not be started: {error}", killed=True)
            for message in (failed, 1):
                self.client.send((key, message))

    def _fork(self, *what: Any) -> _Child:
        ours, theirs = Pipe()
        forked, server = time.monotonic(), os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self.client.close()
            for other in self.children.values():
                other.connection.close()
            _be_a_child(server, theirs, forked, *what)
        theirs.close()
        return _Child(pid, ours)

    def _end_all(self) -> None:
        for child in self.children.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)


def _be_a_child(
    server: int, connection: Connection, forked: float, job: Job, folder: str, threads: int, gpu: int | None
) -> NoReturn:
    """Do the job, tell of it, and end without the server's clean-up."""
    from fuxictr_qnn.jobs.work import carry_out

    code = 1
    try:
        _die_with(server)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # to end as Ctrl-C would end it
        try:
            os.chdir(folder)
            _redirect_output(job.log)
        except OSError as error:
            connection.send(Outcome("failed", reason=f"its process could not begin: {error}", killed=True))
            return

        def tell(report: tuple[str, Any]) -> bool:
            connection.send(report)
            return connection.recv() if job.prunable and report[0] == "evaluated" else True

        connection.send(carry_out(job, threads, gpu, tell, forked))
        code = 0
    except KeyboardInterrupt:
        code = -signal.SIGTERM
    except (EOFError, BrokenPipeError):  # nobody listens any more
        pass
    except BaseException:  # the log is all that can tell why there is no outcome
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if code < 0:  # whoever waits for this process sees what ended it
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _die_with(server: int) -> None:
    """Linux kills this process when the server dies; elsewhere the next report finds nobody to tell."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != server:  # it died before that
            os._exit(1)


def _redirect_output(log: Path | None) -> None:
    """What this process prints goes to a file: the terminal belongs to the client."""
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    target = os.open(os.devnull if log is None else log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, handle in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(source, handle)
