"""What the shipped configs say: model settings of expids, and the features that datasets must have."""

from __future__ import annotations

from typing import Any

import yaml
from fuxictr.features import FeatureMap

from fuxictr_qnn import paths
from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.models.registry import constructor_keys, find_model
from tests.synthetic import BASE, make_feature_map

# Where the authors' split gave other vocabularies than ours.
AUTHORS = {"ml_1m_x1": {"MovieID": 3643}}


def expid_settings(model: str, expid: str) -> dict[str, Any]:
    """Everything that an expid sets, over the Base of its model."""
    config = yaml.safe_load((paths.shipped("model_zoo") / model / "model_config.yaml").read_text())
    return config["Base"] | config[expid]


def model_settings(model: str, expid: str) -> dict[str, Any]:
    """An expid's settings, as far as they are its model's."""
    keys = constructor_keys(find_model(model))[0] - set(BASE) - {"task"}
    return {key: value for key, value in expid_settings(model, expid).items() if key in keys}


def expected_features(dataset_id: str, dim: int = 16) -> FeatureMap:
    """A dataset's features with the vocabulary sizes that its config expects, on the authors' split."""
    spec = load_dataset(dataset_id).spec
    sequences = {column.name: column.max_len for column in spec.active_columns if column.type == "sequence"}
    sizes = spec.expected.vocabulary | AUTHORS.get(dataset_id, {})
    in_order = {column.name: sizes[column.name] for column in spec.active_columns}
    return make_feature_map(in_order, sequences, dim)


def trainable(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
