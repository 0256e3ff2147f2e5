"""The self-ensemble loss for any FuxiCTR model: two dropout passes in training, one at evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn

from fuxictr_qnn.layers import SelfEnsembleLoss
from fuxictr_qnn.layers.weighting import weighted_loss

# What a model may not define itself, because the self-ensemble loss has to.
_OWN_LOSS = ("add_loss", "compute_loss", "train_step")
ROW_WEIGHT = "row_weight"  # in what `add_loss` gets: the weights (B, 1) of the rows, where there are any


def knows_weights(add_loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorator of an `add_loss` that counts rows by the ROW_WEIGHT it may be given."""
    add_loss.knows_weights = True
    return add_loss


class SelfEnsemble:
    """Mixin in front of a BaseModel: `forward` makes the passes, `add_loss` is SelfEnsembleLoss.

    KDD 2025, equation 11. A constructor ends with `set_self_ensemble`.
    """

    def set_self_ensemble(self, on: bool, consistency: str, weight: float) -> None:
        """Train with two passes and this consistency loss, or leave the model as it is.

        Raises:
            ValueError: an unknown consistency loss or a wrong weight, also where it is off; a model that
                does not predict probabilities.
        """
        if on and not isinstance(self.output_activation, nn.Sigmoid):
            raise ValueError(
                "the self-ensemble loss needs probabilities: set self_ensemble to false for regression"
            )
        loss = SelfEnsembleLoss(consistency, weight)
        self.self_ensemble_loss = loss if on else None

    def predictions(self, inputs: dict[str, Tensor], count: int) -> list[Tensor]:
        """`count` predictions (B, 1) that differ in their dropout masks: as many forward passes."""
        return [super(SelfEnsemble, self).forward(inputs)["y_pred"] for _ in range(count)]

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Batch -> {"y_pred": (B, 1)}; in training also the two passes, "y_pred_1" and "y_pred_2"."""
        if not self.training or self.self_ensemble_loss is None:
            return {"y_pred": self.predictions(inputs, 1)[0]}
        p1, p2 = self.predictions(inputs, 2)
        return {"y_pred": (p1 + p2) / 2, "y_pred_1": p1, "y_pred_2": p2}

    @knows_weights
    def add_loss(self, return_dict: dict[str, Tensor], y_true: Tensor) -> Tensor:
        """The self-ensemble loss where there are two passes, the configured loss otherwise."""
        weight = return_dict.get(ROW_WEIGHT)
        if "y_pred_2" in return_dict:
            p1, p2 = return_dict["y_pred_1"], return_dict["y_pred_2"]
            return self.self_ensemble_loss(p1, p2, y_true, weight)
        if weight is not None:
            return weighted_loss(self.loss_fn, return_dict["y_pred"], y_true, weight)
        return super().add_loss(return_dict, y_true)


def with_self_ensemble(cls: type[BaseModel]) -> type[BaseModel]:
    """A model class from anywhere, taking `self_ensemble`, `consistency` and `consistency_weight`.

    Raises:
        ValueError: the class has a loss or a training step of its own.
    """
    if issubclass(cls, SelfEnsemble):
        return cls
    own = [name for name in _OWN_LOSS if getattr(cls, name) is not getattr(BaseModel, name)]
    if own:
        raise ValueError(
            f"self_ensemble: {cls.__name__} has its own {' and '.join(own)}, which the self-ensemble loss "
            "would replace; remove the key"
        )

    def __init__(
        self,
        feature_map: Any,
        *args: Any,
        self_ensemble: bool = True,
        consistency: str = "se",
        consistency_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        cls.__init__(self, feature_map, *args, **kwargs)
        self.set_self_ensemble(self_ensemble, consistency, consistency_weight)

    members = {"__init__": __init__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (SelfEnsemble, cls), members)


def own_loss_of(model: BaseModel) -> list[str]:
    """The methods by which a model's class brings a loss or a training step that knows no weights of rows."""
    methods = {name: getattr(type(model), name) for name in (*_OWN_LOSS, "regularization_loss")}
    return [
        name
        for name, method in methods.items()
        if method is not getattr(BaseModel, name) and not getattr(method, "knows_weights", False)
    ]


def has_dropout(model: nn.Module) -> bool:
    """Whether any layer drops anything; without, two passes of a model are equal."""
    dropouts = (nn.modules.dropout._DropoutNd,)
    return any(isinstance(module, dropouts) and module.p > 0 for module in model.modules()) or any(
        isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0
        for module in model.modules()
    )
