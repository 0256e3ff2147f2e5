"""From the settings of an experiment to a model and its optimizer."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn

from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.layers.dropout import draw_masks_cheaply
from fuxictr_qnn.models.registry import model_class
from fuxictr_qnn.models.requirements import require_no_item_table
from fuxictr_qnn.models.self_ensemble import has_dropout, own_loss_of
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.settings import FitSettings

logger = logging.getLogger("fuxictr_qnn")


class Float32(nn.Module):
    """The output activation in float32, whatever precision the logit came in."""

    def __init__(self, activation: nn.Module):
        super().__init__()
        self.activation = activation

    def forward(self, logit: Tensor) -> Tensor:
        return self.activation(logit.float())


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), and ask cuDNN for deterministic kernels."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True


def build_model(
    experiment: Experiment, feature_map: FeatureMap, gpu: int, model_root: Path, zoo: Path | None = None
) -> BaseModel:
    """The experiment's model with fresh weights on its device.

    Raises:
        RequestError: the model refuses its parameters (the message is the model's own).
    """
    cls = model_class(experiment.model, experiment.model_params, zoo)
    fit = experiment.fit
    try:
        if not hasattr(cls, "reads_item_table"):  # a class from elsewhere; RankModel checks its own
            require_no_item_table(feature_map, experiment.model)
        model = cls(
            feature_map,
            model_id=experiment.expid,
            gpu=gpu,
            task=fit.task,
            learning_rate=fit.learning_rate,
            optimizer=fit.optimizer,
            loss=fit.loss,
            metrics=list(fit.metrics),
            monitor=fit.monitor,
            monitor_mode=fit.monitor_mode,
            early_stop_patience=fit.early_stop_patience,
            eval_steps=fit.eval_steps,
            reduce_lr_on_plateau=fit.reduce_lr_on_plateau,
            model_root=str(model_root),
            verbose=0,
            **experiment.model_params,
        )
    except Exception as error:  # whatever a constructor, perhaps somebody else's, makes of wrong settings
        reason = str(error) or type(error).__name__
        raise RequestError(f"{experiment.expid}: {experiment.model} cannot be built: {reason}") from error
    if model.device.type == "cpu" and getattr(model, "fast", True):
        draw_masks_cheaply(model)  # torch's draws are much of a perceptron's step there
    _check_settings(model, experiment)
    if fit.amp:
        model.output_activation = Float32(model.output_activation)
    return model


def _check_settings(model: BaseModel, experiment: Experiment) -> None:
    """Warn of settings that do nothing for this model, refuse those that it cannot keep."""
    fit = experiment.fit
    if getattr(model, "self_ensemble_loss", None) is not None and not has_dropout(model):
        logger.warning(
            "%s: self_ensemble without dropout: both passes of %s are equal, so the loss only pulls "
            "predictions to 0 and 1; set a dropout rate (net_dropout) or remove self_ensemble",
            experiment.expid,
            experiment.model,
        )
    idle = [key for key in ("consistency", "consistency_weight") if key in experiment.model_params]
    if idle and getattr(model, "self_ensemble_loss", None) is None:
        logger.warning(
            "%s: %s: without self_ensemble there is no consistency loss: set it to true, or leave this out",
            experiment.expid,
            " and ".join(idle),
        )
    if type(model).train_step is not BaseModel.train_step:
        for key, asked in (("accumulate_steps", fit.accumulate_steps > 1), ("compile", fit.compile)):
            if asked:
                raise RequestError(
                    f"{experiment.expid}: {key}: {experiment.model} has a train_step of its own, "
                    "which knows nothing of it; remove the key"
                )
    own_loss = own_loss_of(model) if getattr(model.feature_map, "weight_col", None) else []
    if own_loss:
        raise RequestError(
            f"{experiment.expid}: weight_col: {experiment.model} has its own {' and '.join(own_loss)}, which "
            "knows no weights; remove the key"
        )


def replace_optimizer(model: BaseModel, fit: FitSettings) -> None:
    """Give the model its optimizer with all options, unless its class brings one of its own.

    Raises:
        RequestError: an optimizer or an option that torch does not have.
    """
    if type(model).compile is not BaseModel.compile:
        return
    name = "Adam" if fit.optimizer.lower() == "adam" else fit.optimizer
    cls = getattr(torch.optim, name, None)
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        known = [item for item in dir(torch.optim) if item[0].isupper() and item != "Optimizer"]
        raise RequestError(f"optimizer: {fit.optimizer} is not one of torch.optim.{nearest(name, known)}")
    options = {"fused": True} if name in ("Adam", "AdamW") else {}
    try:
        model.optimizer = cls(model.parameters(), lr=fit.learning_rate, **(options | fit.optimizer_params))
    except (TypeError, ValueError) as error:
        raise RequestError(f"optimizer_params: {name} refuses them: {error}") from error


def count_parameters(model: nn.Module, embeddings: bool = True) -> int:
    """Trainable parameters; without `embeddings` those are left out whose name contains 'embedding'."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (embeddings or "embedding" not in name)
    )
