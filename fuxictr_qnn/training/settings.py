"""The keys of the fit loop: everything that decides how a model is trained, for any model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

OF_THE_MACHINE = {"streaming", "memory_budget"}  # keys that suit it and name no run


class FitSettings(BaseModel):
    """How one model is trained and measured. FuxiCTR's names and defaults where it has them.

    The learning rate: `bad` counts the evaluations since the last improvement or cut. When it
    reaches `reduce_lr_patience`, the rate is multiplied by `reduce_lr_factor` (not below `min_lr`)
    and `bad` is 0 again. Without `max_lr_cuts`, training ends after `early_stop_patience`
    evaluations in a row that did not improve; with it, when `bad` reaches `reduce_lr_patience`
    once more after the last allowed cut.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: Literal["binary_classification", "regression"] = "binary_classification"
    loss: str = "binary_crossentropy"
    metrics: list[str] = ["AUC", "logloss"]
    monitor: str | dict[str, float] = "AUC"
    monitor_mode: Literal["max", "min"] = "max"

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(10000, ge=1)
    eval_batch_size: int | None = Field(None, ge=1)  # default: batch_size
    shuffle: bool = True
    eval_steps: int | None = Field(None, ge=1)  # steps between evaluations; default: one epoch
    streaming: bool | Literal["auto"] = "auto"  # batches from disk; auto: where the data is over the budget
    memory_budget: float | None = Field(None, gt=0)  # GiB for data; default: half of what is available

    optimizer: str = "adam"
    optimizer_params: dict[str, Any] = {}
    learning_rate: float = Field(1e-3, gt=0)
    max_gradient_norm: float = Field(10.0, gt=0)
    accumulate_steps: int = Field(1, ge=1)
    amp: Literal["bf16"] | None = None
    compile: bool = False  # the forward pass and loss of training by torch.compile

    reduce_lr_on_plateau: bool = True
    reduce_lr_patience: int = Field(1, ge=1)
    reduce_lr_factor: float = Field(0.1, gt=0, lt=1)
    min_lr: float = Field(1e-6, ge=0)
    max_lr_cuts: int | None = Field(None, ge=0)
    early_stop_patience: int = Field(2, ge=1)

    ema_decay: float | None = Field(None, gt=0, lt=1)  # averaged weights: per step ...
    average_last: int | None = Field(None, ge=2)  # ... or the mean of the last k evaluations

    @property
    def monitor_weights(self) -> dict[str, float]:
        """The monitored quantity as a weighted sum of metrics: name -> weight."""
        return {self.monitor: 1.0} if isinstance(self.monitor, str) else dict(self.monitor)

    @model_validator(mode="after")
    def _one_kind_of_average(self) -> FitSettings:
        if self.ema_decay is not None and self.average_last is not None:
            raise ValueError("ema_decay and average_last are two ways to average: set one of them")
        return self
