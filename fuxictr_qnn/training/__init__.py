"""Training one experiment. Imported when first used: FuxiCTR's models take seconds to import."""

from __future__ import annotations

from typing import Any

__all__ = ["RunResult", "run_seed"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from fuxictr_qnn.training import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
