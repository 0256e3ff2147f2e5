"""Two or more implementations measured in turn, each in a process of its own.

A machine that is shared or warms up slows all sides alike when they take turns of a second; and a process of
its own gives each side the allocator and the memory that it has in real use.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

Action = Callable[[], object]
Make = Callable[[], Action]  # picklable: a function of a module, or a partial of one

# Imported once, before the processes part: torch and FuxiCTR take eight seconds.
IMPORTED = [
    "torch._dynamo",
    "benchmarks.reference",
    "fuxictr_qnn.training.setup",
    "fuxictr_qnn.training.step",
]
TURN_SECONDS = 1.0
SLOW_SECONDS = 5.0  # what takes as long gets SLOW_TURNS turns
SLOW_TURNS = 2
LONG_SECONDS = 20.0  # what takes as long is called once, not warmed up
ENOUGH = 100  # calls that a p99 is taken of: of fewer it would be the slowest one


@dataclass
class Times:
    """Seconds of each call."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def shown(self, digits: int, scale: float = 1.0) -> str:
        """The median for a table, in units of 1 / scale seconds; one call is called so."""
        return f"{scale * self.median:.{digits}f}" + " (one call)" * (len(self.seconds) == 1)

    def p50_p99(self) -> list[str]:
        """Two cells of a table, in milliseconds; no p99 of few calls."""
        enough = len(self.seconds) >= ENOUGH
        return [self.shown(3, 1e3), f"{1e3 * np.quantile(self.seconds, 0.99):.3f}" if enough else "–"]


def measure(sides: dict[str, Make], turns: int = 5) -> dict[str, Times]:
    """Each side's action in turns of about TURN_SECONDS, the sides one after another."""
    found = {name: Times() for name in sides}
    with ExitStack() as stack:
        workers, left = {}, {}
        for name, make in sides.items():
            workers[name] = stack.enter_context(_process(_take_turns, make))
            # Warmed up before the next side starts: two at once would be slow, not warm.
            first = workers[name].recv()
            left[name] = min(turns, SLOW_TURNS) if first >= SLOW_SECONDS else turns
            if first >= LONG_SECONDS:
                found[name].seconds, left[name] = [first], 0
        for turn in range(turns):
            for name in (name for name in workers if turn < left[name]):
                workers[name].send(True)
                found[name].seconds += workers[name].recv()
    return found


def memory(make: Make) -> int:
    """Bytes that a call of the action needs at most beyond what is held before it."""
    with _process(_send_memory, make) as worker:
        return worker.recv()


@contextmanager
def _process(serve: Callable, make: Make):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(make, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _take_turns(make: Make, connection) -> None:
    action = make()
    first = _seconds(action)
    connection.send(first if first >= SLOW_SECONDS else _seconds(action))  # has warmed up
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        seconds = [_seconds(action)]
        while sum(seconds) < TURN_SECONDS:
            seconds.append(_seconds(action))
        connection.send(seconds)


def _seconds(action: Action) -> float:
    before = time.perf_counter()
    action()
    synchronise()
    return time.perf_counter() - before


def _send_memory(make: Make, connection) -> None:
    action = make()
    action()  # makes what stays: gradients, the optimizer's state
    connection.send(_memory_of(action))


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _memory_of(action: Action) -> int:
    """Bytes that a call needs beyond what is held before it: of the GPU, else of the process (Linux only)."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        action()
        return torch.cuda.max_memory_allocated() - before
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    except OSError:
        action()
        return 0
    ctypes.CDLL(None).malloc_trim(0)  # freed memory that malloc holds would not count
    before = _status("VmRSS")
    action()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    return 1024 * int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def terms(doc: str) -> str:
    """The last paragraph of a script's docstring, on what terms its sides meet, to stand below the table."""
    return doc.rstrip().rpartition("\n\n")[2]


def hardware() -> str:
    """One line that tells on what a table was measured."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    model = name[1] if name else "CPU"
    vectors = torch.backends.cpu.get_cpu_capability()
    return (
        f"{os.cpu_count()} cores, {model} ({vectors}), {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )


def matmul_rate(dtype: torch.dtype = torch.float32, size: int = 1536) -> float:
    """Floating-point operations a second of a large matrix product: the best that this machine does."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        left @ right
        synchronise()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
