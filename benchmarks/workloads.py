"""The published experiments as work without data: their model, their vocabularies, random rows.

Vocabulary sizes are the `expected` facts of the dataset's config; ids are uniform. (Real ids are skewed,
which makes embedding lookups cheaper for both sides.)
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.models import BaseModel
from torch import Tensor

from fuxictr_qnn.config.load import load_experiment
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything

LABEL = "label"
PLAIN = {"num_heads": 1, "batch_norm": False, "net_dropout": 0.1}


@dataclass(frozen=True)
class Workload:
    """A published experiment, with or without changed settings.

    Attributes:
        title: for tables.
        expid: of the model zoo.
        settings: KEY=VALUE texts over it.
        fields: so many of 1,000 ids each, instead of the dataset's.
    """

    title: str
    expid: str
    settings: tuple[str, ...] = ()
    fields: int | None = None

    @cached_property
    def experiment(self) -> Experiment:
        return load_experiment(self.expid, overrides=self.settings).experiment

    def changed(self, *settings: str) -> Workload:
        """The same with more settings."""
        return replace(self, settings=(*self.settings, *settings))

    @property
    def params(self) -> dict[str, Any]:
        """The model's parameters, defaults filled in."""
        return PLAIN | self.experiment.model_params

    @property
    def batch_size(self) -> int:
        return self.experiment.fit.batch_size

    @property
    def vocabularies(self) -> dict[str, int]:
        if self.fields:
            return {f"field_{number}": 1000 for number in range(self.fields)}
        return self.experiment.dataset.expected.vocabulary

    def feature_map(self) -> FeatureMap:
        found = FeatureMap(self.expid, "unused")
        found.features = OrderedDict(
            (name, {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size})
            for name, size in self.vocabularies.items()
        )
        found.labels = [LABEL]
        found.default_emb_dim = self.experiment.model_params["embedding_dim"]
        found.num_fields = found.get_num_fields()
        found.set_column_index()
        return found

    def model(
        self, gpu: int = -1, seed: int = 1, feature_map: FeatureMap | None = None, **params: object
    ) -> BaseModel:
        """The experiment's model with its optimizer; `params` replace constructor arguments."""
        experiment = self.experiment.model_copy(
            update={"model_params": {**self.experiment.model_params, **params}}
        )
        seed_everything(seed)
        model = build_model(experiment, feature_map or self.feature_map(), gpu, Path("unused"))
        replace_optimizer(model, experiment.fit)
        return model

    def batch(self, rows: int, device: torch.device, seed: int = 0) -> dict[str, Tensor]:
        """Random ids (rows,) of every feature, and labels."""
        generator = torch.Generator().manual_seed(seed)
        columns = {
            name: torch.randint(1, size, (rows,), generator=generator)
            for name, size in self.vocabularies.items()
        }
        columns[LABEL] = torch.randint(2, (rows,), generator=generator).float()
        return {name: column.to(device) for name, column in columns.items()}


QNN_ALPHA = {
    "frappe": Workload("Frappe: L2 M13 BN", "QNNalpha_frappe"),
    "ml1m": Workload("ML-1M: L1 M4 H4 BN", "QNNalpha_ml1m"),
    "criteo": Workload("Criteo: L4 M5", "QNNalpha_criteo"),
}
