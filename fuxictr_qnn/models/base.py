"""What the models of this package share, on top of FuxiCTR's BaseModel."""

from __future__ import annotations

from typing import Any

from fuxictr.pytorch.models import BaseModel
from torch import Tensor


class RankModel(BaseModel):
    """A FuxiCTR BaseModel whose logit is `self.logit(X)`; most baselines need nothing else.

    Subclasses build their layers in the constructor and end it with `self.finish(...)`.
    """

    def finish(self, learning_rate: float, kwargs: dict[str, Any]) -> None:
        """Set optimizer and loss, initialise the weights and move to the device."""
        self.compile(
            kwargs.get("optimizer", "adam"), kwargs.get("loss", "binary_crossentropy"), learning_rate
        )
        self.reset_parameters()
        self.model_to_device()

    def logit(self, X: dict[str, Tensor]) -> Tensor:
        """Features -> (B, 1), before the output activation."""
        raise NotImplementedError(f"{type(self).__name__} defines no logit")

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Batch -> {"y_pred": (B, 1)}, probabilities for a classification task."""
        return {"y_pred": self.output_activation(self.logit(self.get_inputs(inputs)))}
