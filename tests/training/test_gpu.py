"""The same on a GPU; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.setup import replace_optimizer
from tests.training.conftest import SMALL
from tests.training.test_fit import make

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use")


def train(feature_map, train, valid, gpu, **settings):
    settings = SMALL.model_copy(update=settings)
    model = make("QNNalpha", feature_map, settings, gpu=gpu)
    replace_optimizer(model, settings)
    records = []
    fit = Fit(model, settings, train, valid, Hooks(on_evaluation=records.append))
    fit.run()
    return fit, records


def test_a_gpu_gives_the_cpus_metrics(feature_map, train_batches, valid_batches):
    on_cpu, on_gpu = (train(feature_map, train_batches, valid_batches, gpu, epochs=2)[1] for gpu in (-1, 0))
    for expected, record in zip(on_cpu, on_gpu, strict=True):
        assert record["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
        assert record["AUC"] == pytest.approx(expected["AUC"], abs=5e-3)


@pytest.mark.parametrize("settings", [{"ema_decay": 0.9}, {"average_last": 2}, {"amp": "bf16"}])
def test_a_checkpoint_goes_on_on_the_gpu(settings, feature_map, train_batches, valid_batches):
    fit, _ = train(feature_map, train_batches, valid_batches, 0, epochs=1, **settings)
    state = {key: value for key, value in fit.state().items()}
    state["position"] = state["position"] | {"done": False}
    again, _ = train(feature_map, train_batches, valid_batches, 0, epochs=1, **settings)
    again.settings = again.settings.model_copy(update={"epochs": 2})
    again.load(state)
    again.run()
    assert again.position.epoch == 2
