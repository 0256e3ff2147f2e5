"""Quadratic neural networks for click-through-rate prediction, on FuxiCTR."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fuxictr_qnn.models.registry import list_models, register_model

if TYPE_CHECKING:
    from fuxictr_qnn.serving.scoring import load_run
    from fuxictr_qnn.training.train import train

__version__ = "0.1.0"

__all__ = ["__version__", "list_models", "load_run", "register_model", "train"]

_WITH_TORCH = {"load_run": "serving.scoring", "train": "training.train"}  # imported when first used


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"fuxictr_qnn.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
