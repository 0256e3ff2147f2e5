"""The published experiments as work without data: their model, their vocabularies, random rows.

Vocabulary sizes are the `expected` facts of the dataset's config; ids are uniform. (Real ids are skewed,
which makes embedding lookups cheaper for both sides.) Sequences have 1 to max_len tokens, then padding.
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
from fuxictr_qnn.data.feature_map import SEQUENCE_ENCODER
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

    @property
    def sequences(self) -> dict[str, int]:
        """max_len of each sequence feature."""
        if self.fields:
            return {}
        columns = self.experiment.dataset.active_columns
        return {column.name: column.max_len for column in columns if column.type == "sequence"}

    def feature_map(self) -> FeatureMap:
        found = FeatureMap(self.expid, "unused")
        found.features = OrderedDict(
            (name, {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size})
            for name, size in self.vocabularies.items()
        )
        for name, length in self.sequences.items():
            found.features[name] |= {
                "type": "sequence",
                "max_len": length,
                "feature_encoder": SEQUENCE_ENCODER,
            }
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
        """Random ids (rows,) of every feature, (rows, max_len) of a sequence, and labels."""
        generator = torch.Generator().manual_seed(seed)
        sequences = self.sequences
        columns = {
            name: torch.randint(
                1, size, (rows, sequences[name]) if name in sequences else (rows,), generator=generator
            )
            for name, size in self.vocabularies.items()
        }
        for name, length in sequences.items():
            tokens = torch.randint(1, length + 1, (rows, 1), generator=generator)
            columns[name][torch.arange(length) >= tokens] = 0
        columns[LABEL] = torch.randint(2, (rows,), generator=generator).float()
        return {name: column.to(device) for name, column in columns.items()}

    def ids(self, batch: dict[str, Tensor]) -> Tensor:
        """A batch's ids as one matrix, those of a sequence side by side: what the reference takes."""
        return torch.column_stack([batch[name] for name in self.vocabularies])


QNN_ALPHA = {
    "frappe": Workload("Frappe: L2 M13 BN", "QNNalpha_frappe"),
    "ml1m": Workload("ML-1M: L1 M4 H4 BN", "QNNalpha_ml1m"),
    "criteo": Workload("Criteo: L4 M5", "QNNalpha_criteo"),
}
