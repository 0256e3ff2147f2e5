"""When to cut the learning rate, when to keep the weights and when to stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from fuxictr_qnn.training.settings import FitSettings

MIN_DELTA = 1e-6  # FuxiCTR's: a smaller gain is no improvement


@dataclass(frozen=True)
class Verdict:
    """What follows from one evaluation."""

    best: bool
    cut: bool
    stop: bool


@dataclass
class PlateauSchedule:
    """Learning-rate cuts and the end of training, from the monitored value alone.

    `bad` counts evaluations since the last improvement or cut, `stale` those since the last
    improvement. FuxiCTR's schedule is reduce_lr_patience 1 without max_lr_cuts: it cuts at every
    evaluation that does not improve and stops at `stale` = early_stop_patience. The rules for the
    other settings stand in FitSettings.
    """

    settings: FitSettings
    best: float | None = None
    bad: int = 0
    stale: int = 0
    cuts: int = 0

    def update(self, value: float) -> Verdict:
        """Judge one evaluation by its monitored value."""
        if self._improves(value):
            self.best, self.bad, self.stale = value, 0, 0
            return Verdict(best=True, cut=False, stop=False)
        self.bad += 1
        self.stale += 1
        settings = self.settings
        due = settings.reduce_lr_on_plateau and self.bad >= settings.reduce_lr_patience
        limited = settings.max_lr_cuts is not None and settings.reduce_lr_on_plateau
        cut = due and not (limited and self.cuts >= settings.max_lr_cuts)
        stop = due and not cut if limited else self.stale >= settings.early_stop_patience
        if cut:
            self.cuts += 1
            self.bad = 0
        return Verdict(best=False, cut=cut, stop=stop)

    def _improves(self, value: float) -> bool:
        if self.best is None:
            return True
        if self.settings.monitor_mode == "min":
            return value <= self.best - MIN_DELTA
        return value >= self.best + MIN_DELTA

    def state(self) -> dict:
        """What a checkpoint keeps."""
        return {key: value for key, value in asdict(self).items() if key != "settings"}

    def load(self, state: dict) -> None:
        for key, value in state.items():
            setattr(self, key, value)
