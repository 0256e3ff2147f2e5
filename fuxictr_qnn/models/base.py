"""What the models of this package share, on top of FuxiCTR's BaseModel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuxictr.pytorch.models import BaseModel
from torch import Tensor

from fuxictr_qnn.models.embedding import draw_own_tables
from fuxictr_qnn.models.requirements import require_no_item_table
from fuxictr_qnn.models.self_ensemble import SelfEnsemble


class RankModel(SelfEnsemble, BaseModel):
    """A FuxiCTR BaseModel whose logit is `self.logit(X)`; most baselines need nothing else.

    Subclasses build their layers in the constructor and end it with `self.finish(...)`.

    Args:
        feature_map: FuxiCTR's FeatureMap.
        self_ensemble: train with two dropout passes and SelfEnsembleLoss (KDD 2025, equation 11).
        consistency: its consistency loss: se, mse, kl, cosine or huber.
        consistency_weight: its weight; the paper uses 1.
        **kwargs: BaseModel's.

    Raises:
        ValueError: features that the model cannot read, self_ensemble for regression, a dropout
            outside [0, 1).
    """

    reads_item_table = False

    def __init__(
        self, feature_map, self_ensemble=False, consistency: str = "se", consistency_weight=1.0, **kwargs: Any
    ):
        if not self.reads_item_table:
            require_no_item_table(feature_map, type(self).__name__)
        super().__init__(feature_map, **kwargs)
        self.set_self_ensemble(self_ensemble, consistency, consistency_weight)

    def finish(self, learning_rate: float, kwargs: dict[str, Any]) -> None:
        """Set optimizer and loss, initialise the weights and move to the device."""
        self.compile(
            kwargs.get("optimizer", "adam"), kwargs.get("loss", "binary_crossentropy"), learning_rate
        )
        self.reset_parameters()
        draw_own_tables(self)
        self.model_to_device()

    def logit(self, X: dict[str, Tensor]) -> Tensor:
        """Features -> (B, 1), before the output activation."""
        return self.logits(X, 1)[0]

    def logits(self, X: dict[str, Tensor], count: int) -> list[Tensor]:
        """`count` logits (B, 1) that differ in their dropout masks.

        A subclass defines this instead of `logit` where the passes can share work.
        """
        if type(self).logit is RankModel.logit:
            raise NotImplementedError(f"{type(self).__name__} defines neither logit nor logits")
        return [self.logit(X) for _ in range(count)]

    def scorer(self) -> Callable[[dict[str, Tensor]], Tensor] | None:
        """The model as it is now for scoring, in fewer operations; None: `forward` is as good."""
        return None

    def predictions(self, inputs: dict[str, Tensor], count: int) -> list[Tensor]:
        return [self.output_activation(logit) for logit in self.logits(self.get_inputs(inputs), count)]
