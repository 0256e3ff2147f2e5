"""Quadratic neural networks for click-through-rate prediction, on FuxiCTR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fuxictr_qnn.models.registry import list_models, register_model

if TYPE_CHECKING:
    from fuxictr_qnn.serving.scoring import load_run

__version__ = "0.1.0"

__all__ = ["__version__", "list_models", "load_run", "register_model"]


def __getattr__(name: str) -> Any:
    if name == "load_run":  # torch is imported only by those who predict
        from fuxictr_qnn.serving.scoring import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
