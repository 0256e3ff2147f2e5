"""FuxiCTR models. The classes are imported when they are first asked for (FuxiCTR takes seconds)."""

from __future__ import annotations

import importlib
from typing import Any

from fuxictr_qnn.models.registry import OWN_MODELS

__all__ = sorted(OWN_MODELS)


def __getattr__(name: str) -> Any:
    if name in OWN_MODELS:
        return getattr(importlib.import_module(OWN_MODELS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
