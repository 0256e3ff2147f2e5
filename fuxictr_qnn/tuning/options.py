"""How a sweep searches, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.tuning.tpe import require_optuna


@dataclass(frozen=True)
class Options:
    """What the command line says of a sweep.

    Attributes:
        search: "grid", "random" or "tpe".
        trials: how many, those of earlier sessions included; None: all.
        prune: "median" or "asha" end hopeless trials early.
        retry_failed: do failed trials again.
        retry_killed: go on with trials whose process was killed.
        tag: do only trials whose hash or values contain it.
        keep: of so many best trials the weights stay.
    """

    search: str = "grid"
    trials: int | None = None
    prune: str | None = None
    retry_failed: bool = False
    tag: str | None = None
    keep: int = 3
    retry_killed: bool = False

    def check(self) -> None:
        """RequestError for options that do not go together."""
        problems = []
        if self.trials is not None and self.trials < 1:
            problems.append(f"--trials {self.trials}: expected a number of at least 1")
        if self.search != "grid" and self.trials is None:
            problems.append(f"--search {self.search} needs --trials K, the number of trials")
        if self.search == "tpe" and self.tag is not None:
            problems.append("--tag picks among trials that are known beforehand, which those of tpe are not")
        if self.keep < 1:
            problems.append(f"--keep {self.keep}: expected a number of at least 1: the best weights stay")
        if problems:
            raise RequestError(problems)
        if self.search == "tpe":
            require_optuna()
