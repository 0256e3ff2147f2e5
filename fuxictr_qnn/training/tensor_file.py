"""Files of torch: plain data only, since a pickle may run any code."""

from __future__ import annotations

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
    except Exception as error:  # junk may raise anything: its bytes are followed as instructions of a pickle
        raise RequestError(
            f"'{file}' cannot be read as weights ({type(error).__name__}): it is damaged, no file of torch, "
            f"or holds pickled code, which is never run; {remedy}"
        ) from error


def check_by_name(content: Any, file: Path, remedy: str) -> dict[str, Tensor]:
    """The content as tensors by name, as `state_dict` gives them.

    Raises:
        RequestError: it is something else, or tensors that no layer takes as they are.
    """
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise RequestError(f"'{file}' does not hold weights by name: {remedy}")
    if strange := [name for name, tensor in content.items() if not _is_plain(tensor)]:
        raise RequestError(
            f"'{file}': {', '.join(strange[:3])} is sparse, quantized or without numbers, where weights are "
            f"dense tensors: {remedy}"
        )
    return content


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor can be compared with others and copied into them."""
    return tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_nested or tensor.is_meta)
