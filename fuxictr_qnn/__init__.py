"""Quadratic neural networks for click-through-rate prediction, on FuxiCTR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuxictr_qnn.lazy import attach
from fuxictr_qnn.models.registry import list_models, register_model

if TYPE_CHECKING:
    from fuxictr_qnn.serving.scoring import load_run
    from fuxictr_qnn.training.train import train

__version__ = "0.1.0"

__all__ = ["__version__", "list_models", "load_run", "register_model", "train"]

__getattr__, __dir__ = attach(
    __name__, {"load_run": "fuxictr_qnn.serving.scoring", "train": "fuxictr_qnn.training.train"}
)
