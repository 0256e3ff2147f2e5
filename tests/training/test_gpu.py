"""The same on a GPU; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn import models
from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.setup import replace_optimizer
from tests.synthetic import BASE, make_batches, make_item_feature_map
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


@pytest.mark.parametrize("name", ["QIN", "DIN", "TransformerDCN"])
@pytest.mark.parametrize("amp", [None, "bf16"])
def test_histories_are_looked_up_on_the_gpu(name, amp):
    feature_map = make_item_feature_map(dim=4)
    train, valid = make_batches(feature_map, 64, 10, seed=1), make_batches(feature_map, 64, 4, seed=2)
    settings = SMALL.model_copy(update={"amp": amp})
    records = []
    for gpu in (-1, 0):
        torch.manual_seed(5)
        model = getattr(models, name)(
            feature_map, embedding_dim=4, learning_rate=1e-2, **(BASE | {"gpu": gpu})
        )
        replace_optimizer(model, settings)
        hooks = Hooks(on_evaluation=records.append)
        Fit(model, settings, train, valid, hooks).run()
    last_on_cpu, last_on_gpu = records[len(records) // 2 - 1], records[-1]
    assert last_on_gpu["train_loss"] < records[len(records) // 2]["train_loss"]
    assert last_on_gpu["AUC"] == pytest.approx(last_on_cpu["AUC"], abs=0.1)
