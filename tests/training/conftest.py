"""A tiny dataset and the settings to train on it."""

from __future__ import annotations

import pytest

from fuxictr_qnn.training.settings import FitSettings
from tests.synthetic import make_batches, make_feature_map

SMALL = FitSettings(batch_size=64, epochs=3, learning_rate=1e-2, metrics=["AUC", "logloss"])


@pytest.fixture
def feature_map():
    return make_feature_map({"a": 30, "b": 20, "c": 8}, {"c": 3}, dim=4)


@pytest.fixture
def train_batches(feature_map):
    return make_batches(feature_map, 64, 10, seed=1)


@pytest.fixture
def valid_batches(feature_map):
    return make_batches(feature_map, 64, 4, seed=2)
