"""The device a run uses, and its memory."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys

import torch

from fuxictr_qnn.errors import RequestError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


def choose_gpu(gpu: int | None) -> int:
    """A GPU's index, or -1 for the CPU; None asks for a GPU if there is one.

    Raises:
        RequestError: a GPU that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpu is None:
        return 0 if count else -1
    if gpu >= count:
        found = f"GPUs 0 to {count - 1}" if count else "no GPU that PyTorch can use"
        raise RequestError(f"--gpu {gpu}: this machine has {found}; --gpu -1 is the CPU")
    return max(gpu, -1)


def keep_freed_memory() -> None:
    """Let malloc keep the large temporaries of a training step instead of returning them.

    Otherwise every step faults the same pages in again, which on a CPU can take as long as its
    arithmetic. Only glibc has the switch; elsewhere nothing changes.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def device_name(device: torch.device) -> str:
    """`cpu (2 threads)` or the GPU's name, for the record of a run."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)"


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far: of the device on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
