"""Quadratic neural networks for click-through-rate prediction, on FuxiCTR."""

from fuxictr_qnn.models.registry import list_models, register_model

__version__ = "0.1.0"

__all__ = ["__version__", "list_models", "register_model"]
