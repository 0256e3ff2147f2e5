"""Embedding rows side by side and their gradients (lookup.c) on tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from fuxictr_qnn.layers.native import compiled


def takes(ids: Sequence[Tensor]) -> bool:
    """Whether these columns of ids can be handed over."""
    return all(c.dtype in (torch.int32, torch.int64) and c.ndim == 1 and c.device.type == "cpu" for c in ids)


def lookup(ids: Sequence[Tensor], tables: Sequence[Tensor]) -> Tensor:
    """Rows ids[f] (B,), contiguous, of tables[f] (V_f, E), side by side: (B, F * E).

    Raises:
        IndexError: an id that a table does not have.
    """
    rows, dim = len(ids[0]), tables[0].shape[1]
    out = tables[0].new_empty(rows, len(tables) * dim)
    function = compiled.library().lookup
    function.restype = ctypes.c_int64
    missing = function(
        compiled.addresses(ids), _wide(ids), compiled.addresses(tables), _int64(map(len, tables)),
        *compiled.sizes(rows, len(tables), dim), compiled.pointer(out), torch.get_num_threads(),
    )  # fmt: skip
    if missing:
        raise IndexError(f"{missing} ids are outside their embedding tables")
    return out


def scatter(
    ids: Sequence[Tensor], sizes: Sequence[int], padding: Sequence[int | None], grad: Tensor
) -> list[Tensor]:
    """The gradients (V_f, E) of the tables from that of `lookup`; rows of `padding` get none."""
    dim = grad.shape[1] // len(ids)
    tables = [grad.new_zeros(size, dim) for size in sizes]
    compiled.library().scatter(
        compiled.addresses(ids), _wide(ids), _int64(-1 if p is None else p for p in padding),
        compiled.pointer(grad), *compiled.sizes(len(grad), len(ids), dim), compiled.addresses(tables),
        torch.get_num_threads(),
    )  # fmt: skip
    return tables


def _wide(ids: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_int32 * len(ids))(*(column.dtype == torch.int64 for column in ids))


def _int64(values) -> ctypes.Array:
    values = list(values)
    return (ctypes.c_int64 * len(values))(*values)
