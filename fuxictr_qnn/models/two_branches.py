"""Models of two networks whose loss looks at each of them, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fuxictr_qnn.models.base import RankModel
from fuxictr_qnn.models.self_ensemble import ROW_WEIGHT, knows_weights


class TwoBranchModel(RankModel):
    """A RankModel whose logit is the mean of its networks' logits; in training each has a loss as well.

    Subclasses define `branches` in place of `logit`, and `branch_loss`. The loss is that of the
    prediction plus `branch_loss`; under the self-ensemble loss the latter is the mean over both passes.
    At evaluation there is the prediction only, and its loss.
    """

    def branches(self, X: dict[str, Tensor], count: int) -> list[tuple[Tensor, ...]]:
        """Per pass the logits (B, 1) of the networks; `count` passes differ in their dropout masks."""
        raise NotImplementedError

    def branch_loss(self, p: Tensor, of_branches: Tensor, y_true: Tensor, weight: Tensor | None) -> Tensor:
        """What the networks add to the loss.

        Shapes: prediction p and y_true (B, 1), predictions of K networks (K, B, 1), weights of the rows
        (B, 1) or None -> scalar.
        """
        raise NotImplementedError

    def logits(self, X: dict[str, Tensor], count: int) -> list[Tensor]:
        return [_mean(logits) for logits in self.branches(X, count)]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """As SelfEnsemble; in training with "branches" (passes, K, B, 1), the networks' predictions."""
        if not self.training:
            return super().forward(inputs)
        count = 1 if self.self_ensemble_loss is None else 2
        passes = self.branches(self.get_inputs(inputs), count)
        p = [self.output_activation(_mean(logits)) for logits in passes]
        outputs = {"y_pred": sum(p) / count}
        if count == 2:
            outputs |= {"y_pred_1": p[0], "y_pred_2": p[1]}
        return outputs | {"branches": self.output_activation(torch.stack([torch.stack(z) for z in passes]))}

    @knows_weights
    def add_loss(self, return_dict: dict[str, Tensor], y_true: Tensor) -> Tensor:
        loss, weight = super().add_loss(return_dict, y_true), return_dict.get(ROW_WEIGHT)
        if "branches" not in return_dict:  # at evaluation
            return loss
        keys = ("y_pred_1", "y_pred_2") if "y_pred_2" in return_dict else ("y_pred",)
        of_passes = zip(keys, return_dict["branches"], strict=True)
        extra = [self.branch_loss(return_dict[key], parts, y_true, weight) for key, parts in of_passes]
        return loss + sum(extra) / len(extra)


def _mean(logits: Sequence[Tensor]) -> Tensor:
    return sum(logits) / len(logits)
