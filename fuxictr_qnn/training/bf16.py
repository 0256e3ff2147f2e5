"""Mixed precision: matrix products in bfloat16, on processors without such an instruction, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = {getattr(torch.ops.aten, name).default for name in ("mm", "addmm", "bmm", "baddbmm")}


@contextmanager
def mixed_precision(device: torch.device, amp: str | None) -> Iterator[None]:
    """bfloat16 products in a forward pass where `amp` asks for them; backward wants `bf16_products`."""
    with bf16_products(device, amp), torch.autocast(device.type, torch.bfloat16, enabled=amp == "bf16"):
        yield


def bf16_products(device: torch.device, amp: str | None) -> AbstractContextManager:
    """Within it, bfloat16 products are taken as fast as this processor can.

    On a CPU without an instruction for them torch's own take ten times as long as those of float32.
    """
    slow = amp == "bf16" and device.type == "cpu" and not has_bf16_products()
    return ProductsInFloat32() if slow else nullcontext()


def has_bf16_products() -> bool:
    """Whether oneDNN multiplies bfloat16 matrices on this CPU (AVX-512 or AMX)."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


class ProductsInFloat32(TorchDispatchMode):
    """Products of bfloat16 matrices: sums in float32, rounded to bfloat16 once, as the instruction does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or args[-1].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        return func(*(arg.float() for arg in args), **kwargs).bfloat16()
