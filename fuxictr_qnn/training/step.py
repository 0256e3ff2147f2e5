"""One training step for any FuxiCTR model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn

from fuxictr_qnn.errors import RunError
from fuxictr_qnn.layers.weighting import TINY, weighted_loss
from fuxictr_qnn.models.self_ensemble import ROW_WEIGHT, SelfEnsemble
from fuxictr_qnn.training.bf16 import bf16_products, mixed_precision
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.regularization import Regularizer
from fuxictr_qnn.training.settings import FitSettings

_CHECK_EVERY = 100  # steps between looks at the losses, so that a GPU is not waited for at each


def _overrides(model: BaseModel, *methods: str) -> bool:
    return any(getattr(type(model), name) is not getattr(BaseModel, name) for name in methods)


class TrainStep:
    r"""Forward, loss, backward, L2 by gradient, one clip, update.

    Where the feature map has a `weight_col`, rows count as much as their weights: the loss of a batch is
    :math:`\sum w l / \sum w`, and of several batches the mean in which each counts as much as its mean
    weight. With all weights 1 nothing changes, not a bit.

    Several workers take a share of each batch; the sum of their gradients is that of the whole.

    The arithmetic of BaseModel.train_step; a model that overrides train_step is left to do it, and
    one that overrides compute_loss or regularization_loss keeps its own loss whole.
    """

    def __init__(self, model: BaseModel, settings: FitSettings, workers: Workers = ALONE):
        self.model, self.settings, self.workers = model, settings, workers
        self.own_step = _overrides(model, "train_step")
        own_loss = _overrides(model, "compute_loss", "regularization_loss")
        self.regularizer = None if own_loss or self.own_step else Regularizer(model)
        self.weight_col = getattr(model.feature_map, "weight_col", None)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.forward = torch.compile(model.forward) if settings.compile else model.forward

    def __call__(self, batches: Sequence[dict[str, Tensor]]) -> Tensor:
        """Update the weights once, from one batch or the mean gradient of several; returns the loss."""
        if self.own_step:
            return torch.stack([self.model.train_step(batch).detach() for batch in batches]).mean()
        self.model.optimizer.zero_grad(set_to_none=True)
        total: Tensor | float = 0.0
        weights = [self._weights(batch) for batch in batches]
        whole = sum(weight.mean() for weight in weights).clamp(min=TINY) if self.weight_col else len(batches)
        for batch in batches:
            batch, part = self.workers.share(batch)
            weight = self._weights(batch)
            loss = self._loss(batch, weight)
            loss = (loss if weight is None else loss * weight.mean()) * part / whole
            with bf16_products(self.model.device, self.settings.amp):
                loss.backward()
            total = total + loss.detach()
        total = self.workers.sum_gradients(self.parameters, total)
        if self.regularizer is not None:
            total = total + self.regularizer.add_gradients()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.max_gradient_norm)
        self.model.optimizer.step()
        return total

    def _weights(self, batch: dict[str, Tensor]) -> Tensor | None:
        """(B, 1) the weights of the rows, or None."""
        return batch[self.weight_col].to(self.model.device).view(-1, 1) if self.weight_col else None

    def _loss(self, batch: dict[str, Tensor], weight: Tensor | None) -> Tensor:
        batch = {name: column for name, column in batch.items() if name != self.weight_col}
        with mixed_precision(self.model.device, self.settings.amp):
            outputs = self._forward(batch)
        y_true = self.model.get_labels(batch)
        if weight is not None and not isinstance(self.model, SelfEnsemble):
            return weighted_loss(self.model.loss_fn, outputs["y_pred"], y_true, weight)
        if weight is not None:
            outputs = {**outputs, ROW_WEIGHT: weight}
        if self.regularizer is None:
            return self.model.compute_loss(outputs, y_true)
        return self.model.add_loss(outputs, y_true)

    def _forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        try:
            return self.forward(batch)
        except RuntimeError as error:
            if not self.settings.compile:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise RunError(f"compile: the compiled model fails: {reason}; remove the key") from error


class LossLog:
    """The mean training loss since the last report, and an alarm for one that is not finite."""

    def __init__(self):
        self.total, self.count = 0.0, 0
        self._recent: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor) -> None:
        """Note the loss of a step; looked at when enough have gathered."""
        self._recent.append((step, loss))
        if len(self._recent) >= _CHECK_EVERY:
            self.check()

    def take(self) -> float:
        """The mean over the steps since the last call.

        Raises:
            RunError: one of the losses is not finite; names its step.
        """
        self.check()
        mean = self.total / max(1, self.count)
        self.total, self.count = 0.0, 0
        return mean

    def check(self) -> None:
        """Look at the losses that have gathered; raises as `take` does."""
        if not self._recent:
            return
        values = torch.stack([loss for _, loss in self._recent]).double().cpu()
        finite = torch.isfinite(values)
        if not finite.all():
            step = self._recent[int((~finite).nonzero()[0])][0]
            raise RunError(
                f"the training loss is not finite since step {step}: lower learning_rate, or look for "
                "missing or huge values in numeric features"
            )
        self.total += values.sum().item()
        self.count += len(self._recent)
        self._recent.clear()
