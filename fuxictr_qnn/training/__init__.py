"""Training one experiment. Imported when first used: FuxiCTR's models take seconds to import."""

from __future__ import annotations

from fuxictr_qnn.lazy import attach

__all__ = ["RunResult", "run_seed"]

__getattr__, __dir__ = attach(__name__, dict.fromkeys(__all__, "fuxictr_qnn.training.run"))
