"""One experiment as data: which model, on which data, trained how. config/ makes it from YAML."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.training.settings import FitSettings


class FeatureUse(BaseModel):
    """How a model sees the features of a dataset (FuxiCTR's `FeatureMap.load` parameters)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int | None = None
    use_features: list[str] | None = None
    feature_specs: list[dict[str, Any]] | None = None


class Experiment(BaseModel):
    """Everything that decides a result except the seed, the device and where files lie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expid: str
    model: str
    model_params: dict[str, Any]  # the constructor's keyword arguments
    features: FeatureUse
    fit: FitSettings
    dataset: DatasetSpec

    @property
    def digest(self) -> str:
        """Eight hex digits of the resolved model and dataset config: names the run folder."""
        settings = self.model_dump(mode="json", exclude={"expid": True})
        for path in ("data_root", "source"):
            settings["dataset"].pop(path, None)
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
