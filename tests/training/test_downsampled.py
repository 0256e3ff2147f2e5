"""Training on a share of the negatives: what is learnt is too high, and the correction brings it back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.settings import FitSettings
from tests.training.test_run import run

RATE = 0.1


def test_a_model_of_thinned_rows_is_calibrated_on_all_rows_once_corrected(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "ads").mkdir()
    for split in ("train", "valid", "test"):
        user, item = rng.integers(0, 12, 60_000), rng.integers(0, 12, 60_000)
        clicks = rng.random(60_000) < 1 / (1 + np.exp(4.5 - 0.15 * user - 0.1 * item))
        kept = clicks | (rng.random(60_000) < RATE) if split != "test" else clicks | True
        frame = pl.DataFrame({"click": clicks.astype(int), "user": user, "item": item})
        frame.filter(pl.Series(kept)).write_csv(tmp_path / "ads" / f"{split}.csv")
    experiment = Experiment(
        expid="LR_ads",
        model="LR",
        model_params={},
        features=FeatureUse(),
        fit=FitSettings(batch_size=500, epochs=4, learning_rate=0.02),
        dataset=DatasetSpec(
            dataset_id="ads",
            feature_cols=[{"name": "user", "dtype": "int"}, {"name": "item", "dtype": "int"}],
            label_col=[{"name": "click"}],
            negative_sampling_rate=RATE,
            **{f"{split}_data": f"ads/{split}.csv" for split in ("train", "valid", "test")},
        ),
    )
    metrics = run(experiment, tmp_path, tmp_path / "out").metrics
    found = metrics["calibration"]["test"]
    assert found["predicted_over_observed"] > 4
    assert found["corrected_predicted_over_observed"] == pytest.approx(1, abs=0.08)
    assert found["corrected_expected_calibration_error"] < 0.01 < found["expected_calibration_error"]
    plain = experiment.model_copy(
        update={"dataset": experiment.dataset.model_copy(update={"negative_sampling_rate": None})}
    )
    assert plain.digest != experiment.digest
    same = run(plain, tmp_path, tmp_path / "out").metrics
    assert same["test"] == metrics["test"] and "calibration" not in same
