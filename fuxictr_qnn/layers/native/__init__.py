"""rows.c, compiled on first use by the C compiler of the machine; without one NumPy does the same work.

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
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("rows.c")
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
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(compiler: str) -> Path:
    told = [SOURCE.read_bytes(), " ".join((compiler, *FLAGS)).encode(), _processor().encode()]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fuxictr_qnn"
    target = base / f"rows-{hashlib.sha256(b'|'.join(told)).hexdigest()[:16]}.so"
    if not target.exists():
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            built = Path(scratch) / target.name
            part = built.with_suffix(".o")
            # Linked without -fopenmp, so that the names are found in torch's OpenMP, not in a second one.
            for command in (["-c", *FLAGS, "-fopenmp", str(SOURCE)], ["-shared", str(part)]):
                output = part if "-c" in command else built
                subprocess.run(
                    [compiler, *command, "-o", str(output)], check=True, capture_output=True, timeout=60
                )
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


def pool(
    z: Tensor,
    relu: bool,
    threshold: int,
    seeds: list[int],
    bias: Tensor | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """For each seed s = sum_m mask * (z + bias) / keep, x + y * s and the mask.

    Args:
        z: (B, M, D).
        relu: whether only positive elements are kept.
        threshold: keep is threshold / 65536, the probability with which an element is drawn to stay.
        seeds: of the passes.
        bias: (M * D,) or None.
        x, y: (B, D), or None for no products.

    Returns:
        the sums (B, D), the outputs (B, D; none without x) and the masks (B, M, D), bool.
    """
    sums = [z.new_empty(z.shape[0], z.shape[2]) for _ in seeds]
    outs = [torch.empty_like(s) for s in sums] if x is not None else []
    masks = [torch.empty(z.shape, dtype=torch.bool) for _ in seeds]
    states = [np.random.SFC64(seed).state["state"]["state"] for seed in seeds]
    failed = library().pool(
        *map(_pointer, (z, bias, x, y)), *_sizes(*z.shape), int(relu), threshold, *_sizes(len(seeds)),
        _addresses([state.ctypes.data for state in states]), _addresses(sums), _addresses(outs),
        _addresses(masks), torch.get_num_threads(),
    )  # fmt: skip
    _check(failed)
    return sums, outs, masks


def spread(
    grads: list[Tensor],
    masks: list[Tensor],
    keep: float,
    sums: list[Tensor] | None = None,
    y: Tensor | None = None,
    with_bias: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of `pool` from those of its outputs, or of its sums where there is no y.

    Returns:
        those of z (B, M, D), of the bias (M * D,), of x and of y (B, D); None for what there was not.
    """
    dz = grads[0].new_empty(masks[0].shape)
    dbias = dz.new_zeros(dz.shape[1] * dz.shape[2]) if with_bias else None
    dx, dy = (None, None) if y is None else (torch.empty_like(y), torch.empty_like(y))
    failed = library().spread(
        _addresses(grads), _addresses(masks), _addresses(sums or []), _pointer(y),
        *_sizes(len(grads), *dz.shape), ctypes.c_float(keep), *map(_pointer, (dz, dbias, dx, dy)),
        torch.get_num_threads(),
    )  # fmt: skip
    _check(failed)
    return dz, dbias, dx, dy


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("no memory for the temporaries of a few rows")


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _addresses(items: list[Tensor | int]) -> ctypes.Array:
    values = [item.data_ptr() if isinstance(item, Tensor) else item for item in items]
    return (ctypes.c_void_p * len(values))(*values)


def _sizes(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]
