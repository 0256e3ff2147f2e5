"""FuxiCTR models. The classes are imported when they are first asked for (FuxiCTR takes seconds)."""

from __future__ import annotations

from fuxictr_qnn.lazy import attach
from fuxictr_qnn.models.registry import OWN_MODELS

__all__ = sorted(OWN_MODELS)

__getattr__, __dir__ = attach(__name__, OWN_MODELS)
