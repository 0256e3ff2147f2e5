"""Files of torch: plain data only, since a pickle may run any code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuxictr_qnn.errors import RequestError


def read_plain(file: Path, remedy: str) -> Any:
    """The tensors, numbers and containers in a file, on the CPU. Pickled code is refused, never run.

    Args:
        remedy: what to do about a file that is refused.

    Raises:
        RequestError: naming the file and the remedy.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise RequestError(
            f"'{file}' cannot be read as weights ({type(error).__name__}): it is damaged, no file of torch, "
            f"or holds pickled code, which is never run; {remedy}"
        ) from error


def check_by_name(content: Any, file: Path, remedy: str) -> dict[str, Tensor]:
    """The content as tensors by name, as `state_dict` gives them.

    Raises:
        RequestError: it is something else.
    """
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RequestError(f"'{file}' does not hold weights by name: {remedy}")
    return content
