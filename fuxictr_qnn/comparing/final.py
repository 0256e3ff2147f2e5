"""A final run: a chosen config with a final seed, as it stands on disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from fuxictr_qnn.comparing.entrants import Entrant
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import write_json
from fuxictr_qnn.runs.files import RunFiles
from fuxictr_qnn.runs.names import run_name
from fuxictr_qnn.tuning.space import Trial

_REMEDY = (
    "put it back as it was, or remove the folder: the run is done again if its test split was not read yet"
)


@dataclass(frozen=True, eq=False)
class Config:
    """What an entrant is trained with in the end: the best trial, or the config as it stands."""

    entrant: Entrant
    trial: Trial

    @property
    def label(self) -> str:
        return self.entrant.label


@dataclass(eq=False)
class Final:
    """A final run on disk.

    Attributes:
        runs: the root of the run folders.
        fingerprint: of the data that it has to be on.
    """

    NAME: ClassVar = ("expid", "config_digest", "seed")

    config: Config
    seed: int
    runs: Path
    fingerprint: str

    @cached_property
    def path(self) -> Path:
        experiment = self.config.trial.experiment
        return self.runs / run_name(experiment.expid, experiment.digest, self.seed)

    @cached_property
    def files(self) -> RunFiles:
        return RunFiles(self.path, _REMEDY)

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The contents of metrics.json; None while the run is not complete.

        Raises:
            RequestError: they are of another run.
        """
        if (found := self.files.metrics) is None:
            return None
        try:
            of = found["config_digest"], found["seed"], found["data_fingerprint"]
            found["valid"]["AUC"]
        except (KeyError, TypeError):
            raise self._edited("metrics.json is not as a run writes it") from None
        if of != (self.config.trial.digest, self.seed, self.fingerprint):
            raise self._edited("metrics.json is of another run, or of other data, than the folder")
        return found

    def _edited(self, what: str) -> RequestError:
        return RequestError(f"'{self.path}': {what}: {_REMEDY}")

    @property
    def failure(self) -> str | None:
        """Why the run has no result, and will have none."""
        return self.files.failure

    def fail(self, reason: str) -> None:
        write_json(self.path / "failed.json", {"reason": reason})

    @property
    def is_settled(self) -> bool:
        return self.metrics is not None or self.failure is not None

    @property
    def is_scored(self) -> bool:
        return "test" in (self.metrics or {})

    @property
    def is_unread(self) -> bool:
        """Whether the run is complete but for its test split."""
        return self.metrics is not None and not self.is_scored

    @property
    def lacks_weights(self) -> str | None:
        """What to say where there are no weights to score with."""
        if self.files.has_weights:
            return None
        return (
            f"'{self.path}': model.pt, the weights that are to score the test split, is missing: put it "
            "back, or remove the folder, and the run is done again"
        )

    @property
    def name(self) -> dict[str, Any]:
        """What tells it from the others, for the log of scorings."""
        values = self.config.entrant.expid, self.config.trial.digest, self.seed
        return dict(zip(self.NAME, values, strict=True))
