"""rows.c and lookup.c, compiled on first use by the C compiler of the machine; without one torch does it.

The library lies in the user's cache folder under a name that tells source, flags and processor, so that a
home folder shared by different machines holds one for each. FUXICTR_QNN_NATIVE=0 does without.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

SOURCES = [Path(__file__).with_name(name) for name in ("rows.c", "lookup.c")]
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fPIC")
SWITCH = "FUXICTR_QNN_NATIVE"


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they cannot be had (no compiler, no writable cache)."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), *COMPILERS))), None)
    if os.environ.get(SWITCH) == "0" or compiler is None or sys.byteorder != "little":
        return None
    try:
        for openmp in (Path(torch.__file__).parent / "lib").glob("lib*omp*.so*"):
            ctypes.CDLL(str(openmp), ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # RuntimeError: no home folder
        return None


def _compiled(compiler: str) -> Path:
    told = [" ".join((compiler, *FLAGS)).encode(), _processor().encode()]
    told += [source.read_bytes() for source in SOURCES]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fuxictr_qnn"
    target = base / f"rows-{hashlib.sha256(b'|'.join(told)).hexdigest()[:16]}.so"
    if not target.exists():
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            built = Path(scratch) / target.name
            parts = [str(Path(scratch) / f"{source.stem}.o") for source in SOURCES]
            compiles = [
                ["-c", *FLAGS, "-fopenmp", str(source), "-o", part]
                for source, part in zip(SOURCES, parts, strict=True)
            ]
            # Linked without -fopenmp, so that the names are found in torch's OpenMP, not in a second one.
            for command in (*compiles, ["-shared", *parts, "-o", str(built)]):
                subprocess.run([compiler, *command], check=True, capture_output=True, timeout=60)
            built.replace(target)
    return target


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    return "".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def usable(*tensors: Tensor) -> bool:
    """Whether the library is there and takes these tensors: float32, contiguous, on the CPU.

    Not while torch.compile traces: it fuses the plain operators itself.
    """
    if torch.compiler.is_compiling():
        return False
    fits = all(t.dtype == torch.float32 and t.device.type == "cpu" and t.is_contiguous() for t in tensors)
    return fits and library() is not None


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def addresses(items: Sequence[Tensor | int]) -> ctypes.Array:
    values = [item.data_ptr() if isinstance(item, Tensor) else item for item in items]
    return (ctypes.c_void_p * len(values))(*values)


def sizes(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]
