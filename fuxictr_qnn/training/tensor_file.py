"""Files of torch: plain data only, since a pickle may run any code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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


def load_into(model: nn.Module, weights: dict[str, Tensor], file: Path, remedy: str) -> None:
    """Give the model the weights of its run, which are in `file`.

    Raises:
        RequestError: they are another model's, or of another feature map.
    """
    if problems := list(_misfits(model.state_dict(), weights)):
        some = "; ".join(problems[:3]) + (" ..." if len(problems) > 3 else "")
        raise RequestError(
            f"'{file}' does not fit config.yaml and features/feature_map.json: {some}; {remedy}"
        )
    model.load_state_dict(weights)


def _misfits(wanted: dict[str, Tensor], weights: dict[str, Tensor]) -> Iterator[str]:
    """How weights differ from those of the model, in names and shapes."""
    for name in sorted(wanted.keys() - weights.keys()):
        yield f"{name} is missing"
    for name in sorted(weights.keys() - wanted.keys()):
        yield f"{name} is not the model's"
    for name in sorted(wanted.keys() & weights.keys()):
        if wanted[name].shape != weights[name].shape:
            yield f"{name} is {tuple(weights[name].shape)} instead of {tuple(wanted[name].shape)}"


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor can be compared with others and copied into them."""
    return tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_nested or tensor.is_meta)
