"""One experiment as data: which model, on which data, trained how. config/ makes it from YAML."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import NotRequired, TypedDict  # pydantic reads the standard one from Python 3.12 on

from fuxictr_qnn.data.fingerprint import FACTS, PATHS
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.training.settings import OF_THE_MACHINE, FitSettings
from fuxictr_qnn.training.starting_point import StartingPoint


class FeatureChange(TypedDict):
    """An entry of feature_specs: what a model may see otherwise than the dataset config says it.

    Type, vocabulary and pretrained file are not among the keys: they are facts of the built data.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    name: str | list[str]
    source: NotRequired[str]
    embedding_dim: NotRequired[Annotated[int, Field(ge=1)]]
    emb_output_dim: NotRequired[Annotated[int, Field(ge=1)]]
    feature_encoder: NotRequired[Any]  # config.checks knows its grammar
    share_embedding: NotRequired[str]
    pretrain_usage: NotRequired[Literal["init", "sum", "concat"]]
    freeze_emb: NotRequired[bool]


class FeatureUse(BaseModel):
    """How a model sees the features of a dataset (FuxiCTR's `FeatureMap.load` parameters)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    embedding_dim: int | None = Field(None, ge=1)
    use_features: list[str] | None = Field(None, min_length=1)
    feature_specs: list[FeatureChange] | None = None


class Experiment(BaseModel):
    """Everything that decides a result except the seed, the device and where files lie.

    With fit.streaming "auto" the memory of the moment, too: streamed rows are shuffled in another way. A run
    keeps how it read them, `buffer_bytes` in config.yaml and metrics.json.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    expid: str
    model: str
    model_params: dict[str, Any]  # the constructor's keyword arguments
    features: FeatureUse
    fit: FitSettings
    dataset: DatasetSpec
    init_from: StartingPoint | None = None  # first weights; None: drawn by the seed

    @property
    def digest(self) -> str:
        """Eight hex digits of the resolved model and dataset config: names the run folder.

        Paths are left out: which data was used is the data fingerprint's to say. So are defaults: a new
        key that changes nothing leaves the names of old runs as they are. So is what suits the machine:
        whether data is streamed, and in how much memory, though it changes the order of shuffled rows.
        Of the weights that it starts from, the contents count.
        """
        settings = self.model_dump(
            mode="json",
            exclude={
                "expid": True,
                "dataset": PATHS | FACTS,
                "fit": OF_THE_MACHINE,
                "init_from": {"weights"},
            },
            exclude_defaults=True,
        )
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
