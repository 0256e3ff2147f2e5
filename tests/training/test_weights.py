"""Weights of rows: loss and gradient against written-out formulas, and 1 everywhere as none at all."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from fuxictr.pytorch.layers import FeatureEmbedding
from fuxictr.pytorch.models import BaseModel
from torch import nn

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.data import MemoryLoader, Places, build_dataset, load_feature_map
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec, LabelSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.layers import CONSISTENCY_LOSSES, SelfEnsembleLoss
from fuxictr_qnn.models import DNN, QNNalpha
from fuxictr_qnn.models.registry import register_model
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.setup import build_model, replace_optimizer
from fuxictr_qnn.training.step import TrainStep
from tests.synthetic import BASE, make_batches, make_feature_map

SETTINGS = FitSettings(learning_rate=1e-2)
REGRESSION = FitSettings(task="regression", loss="mse_loss", learning_rate=1e-2)


class Foreign(BaseModel):
    """Written as FuxiCTR's models are."""

    def __init__(
        self, feature_map, model_id="Foreign", gpu=-1, learning_rate=1e-2, loss="mse_loss", **kwargs
    ):
        super().__init__(feature_map, model_id=model_id, gpu=gpu, **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, 4)
        self.out = nn.Linear(8, 1)
        self.compile("adam", loss, learning_rate)
        self.reset_parameters()

    def forward(self, inputs):
        x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.output_activation(self.out(x))}


class OwnLoss(Foreign):
    def add_loss(self, return_dict, y_true):
        return 2 * super().add_loss(return_dict, y_true)


MODELS = {
    "DNN": lambda fm, settings: DNN(fm, embedding_dim=4, hidden_units=[8], loss=settings.loss,
                                    task=settings.task, embedding_regularizer=0.01, **BASE),
    "QNNalpha": lambda fm, settings: QNNalpha(fm, embedding_dim=4, num_row=2, net_dropout=0.3, **BASE),
    "Foreign": lambda fm, settings: Foreign(fm, loss=settings.loss, task=settings.task, **BASE),
}  # fmt: skip


def feature_map(weight_col=None):
    made = make_feature_map({"a": 9, "b": 7}, dim=4)
    made.weight_col = weight_col
    return made


def make(name, settings=SETTINGS, weight_col="w", seed=0):
    torch.manual_seed(seed)
    model = MODELS[name](feature_map(weight_col), settings)
    replace_optimizer(model, settings)
    model.train()
    return model


def batches(count, weights=None, sizes=(32,)):
    """Batches with their weights; other sizes of batches by turns."""
    made = [make_batches(feature_map(), sizes[at % len(sizes)], 1, seed=at)[0] for at in range(count)]
    generator = torch.Generator().manual_seed(5)
    for batch in made:
        rows = len(batch["label"])
        batch["w"] = (
            torch.rand(rows, generator=generator) * 3 if weights is None else torch.full((rows,), weights)
        )
    return made


def without(batch):
    return {name: column for name, column in batch.items() if name != "w"}


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


LOSSES = {
    "binary_crossentropy": lambda p, y: -(y * p.log() + (1 - y) * (1 - p).log()),
    "mse_loss": lambda p, y: (p - y) ** 2,
    "l1_loss": lambda p, y: (p - y).abs(),
    "huber_loss": lambda p, y: torch.where((p - y).abs() < 1, (p - y) ** 2 / 2, (p - y).abs() - 0.5),
}


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("name", ["DNN", "Foreign"])
def test_loss_and_gradient_are_those_of_the_formula(name, loss):
    """sum w l / sum w over all rows of the update, whose batches have one size."""
    regression = loss != "binary_crossentropy"
    settings = REGRESSION.model_copy(update={"loss": loss}) if regression else SETTINGS
    settings = settings.model_copy(update={"max_gradient_norm": 1e9})
    group = batches(3)
    model, same = make(name, settings), make(name, settings)
    found = TrainStep(model, settings)(group)
    predictions = torch.cat([same(without(batch))["y_pred"].view(-1) for batch in group])
    labels, weights = (torch.cat([batch[key] for batch in group]) for key in ("label", "w"))
    expected = (weights * LOSSES[loss](predictions, labels)).sum() / weights.sum()
    expected = expected + same.regularization_loss()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for key, gradient in gradients(same).items():
        torch.testing.assert_close(gradients(model)[key], gradient, rtol=1e-4, atol=1e-6)


L1 = REGRESSION.model_copy(update={"loss": "l1_loss"})


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize(
    ("name", "settings"), [("DNN", SETTINGS), ("DNN", REGRESSION), ("QNNalpha", SETTINGS), ("Foreign", L1)]
)
def test_weights_of_one_change_no_bit(name, settings, group):
    weighted, plain = make(name, settings), make(name, settings, weight_col=None)
    with_weights, step = TrainStep(weighted, settings), TrainStep(plain, settings)
    made = batches(6, weights=1.0, sizes=(32, 32, 5))
    for start in range(0, 6, group):
        torch.manual_seed(start)
        ours = with_weights(made[start : start + group])
        torch.manual_seed(start)
        assert torch.equal(ours, step([without(batch) for batch in made[start : start + group]]))
    for ours, theirs in zip(weighted.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def distance(name, p, q, w):
    """The consistency losses written out; w sums to 1."""
    if name == "cosine":
        return 1 - (w * p * q).sum() / ((w * p * p).sum() * (w * q * q).sum()).sqrt()
    single = {
        "se": -(q * p.log() + (1 - q) * (1 - p).log()),
        "mse": (p - q) ** 2,
        "kl": q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log(),
        "huber": (p - q) ** 2 / 2,
    }[name]
    return (w * single).sum()


@pytest.mark.parametrize("name", sorted(CONSISTENCY_LOSSES))
def test_self_ensemble_loss_with_weights(name):
    generator = torch.Generator().manual_seed(1)
    p1, p2 = (torch.rand(40, 1, generator=generator, dtype=torch.float64) * 0.9 + 0.05 for _ in range(2))
    y = (torch.rand(40, 1, generator=generator) < 0.4).double()
    weight = torch.rand(40, 1, generator=generator, dtype=torch.float64)
    tensors = [p.clone().requires_grad_() for p in (p1, p2, p1, p2)]
    found = SelfEnsembleLoss(name, 0.7)(tensors[0], tensors[1], y, weight)
    w = weight / weight.sum()
    mean = (tensors[2] + tensors[3]) / 2
    target = mean.detach()
    expected = (w * LOSSES["binary_crossentropy"](mean, y)).sum()
    expected = expected + 0.7 * sum(distance(name, p, target, w) for p in tensors[2:])
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    found.backward(), expected.backward()
    for ours, theirs in zip(tensors[:2], tensors[2:], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-12)
    ones = SelfEnsembleLoss(name, 0.7)(p1, p2, y, torch.ones_like(y))
    assert torch.equal(ones, SelfEnsembleLoss(name, 0.7)(p1, p2, y))


def test_a_weight_of_two_is_the_row_twice():
    (batch,) = batches(1, weights=1.0)
    doubled = {key: torch.cat([column, column[:4]]) for key, column in without(batch).items()}
    weights = batch["w"].clone()
    weights[:4] = 2
    weighted, plain = make("DNN"), make("DNN", weight_col=None)
    ours = TrainStep(weighted, SETTINGS)([batch | {"w": weights}])
    assert ours.item() == pytest.approx(TrainStep(plain, SETTINGS)([doubled]).item(), rel=1e-6)


def test_a_batch_without_weight_teaches_nothing():
    model = make("Foreign", REGRESSION)
    assert TrainStep(model, REGRESSION)(batches(1, weights=0.0)).item() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients(model).values())
    heavy, light = batches(2)
    step = TrainStep(model, REGRESSION)([heavy, light | {"w": torch.zeros(32)}])
    again = make("Foreign", REGRESSION)
    assert math.isfinite(step) and TrainStep(again, REGRESSION)([heavy]).isfinite()


def test_a_model_with_a_loss_of_its_own_is_refused(monkeypatch, tmp_path):
    from fuxictr_qnn.models import registry

    monkeypatch.setattr(registry, "_registered", {})
    register_model(OwnLoss)
    register_model(Foreign)
    settings = ["dataset_id=demo", "model=OwnLoss"]
    experiment = load_experiment("DNN_demo", None, settings).experiment
    with pytest.raises(
        RequestError, match="weight_col: OwnLoss has its own add_loss, which knows no weights"
    ):
        build_model(experiment, feature_map("w"), -1, tmp_path)
    build_model(experiment, feature_map(), -1, tmp_path)
    experiment = load_experiment("DNN_demo", None, ["dataset_id=demo", "model=Foreign"]).experiment
    build_model(experiment, feature_map("w"), -1, tmp_path)


# Weights on their way from the file to the batch

SPEC = DatasetSpec(
    dataset_id="weighted",
    train_data="train.csv",
    valid_data="valid.csv",
    test_size=10,
    weight_col="weight",
    feature_cols=[ColumnSpec(name="item")],
    label_col=[LabelSpec(name="label")],
)


def rows(count, weights=None):
    rng = np.random.default_rng(count)
    frame = pl.DataFrame({"item": rng.choice(["x", "y"], count), "label": rng.integers(0, 2, count)})
    return frame if weights is None else frame.with_columns(weight=pl.Series(weights, strict=False))


def write(folder, weights):
    (folder / "weighted").mkdir()
    rows(len(weights), weights).write_csv(folder / "weighted" / "train.csv")
    rows(20).write_csv(folder / "weighted" / "valid.csv")
    return Places(data_root=folder)


def test_weights_reach_the_training_batches_and_no_others(tmp_path):
    weights = [1] * 120 + [0.25] * 30  # whole numbers where the reader guesses types
    built = build_dataset(SPEC, write(tmp_path, weights), log=lambda message: None)
    choice = SimpleNamespace(embedding_dim=4, use_features=None, feature_specs=None)
    made = load_feature_map(built.feature_map, SPEC, choice)
    assert list(made.features) == ["item"]
    keys = {"batch_size": 1000, "weight_col": "weight"}
    (batch,) = MemoryLoader(made, built.train, split="train", **keys)
    assert batch["weight"].tolist() == weights[:140] and batch["weight"].dtype == torch.float32
    for split in ("valid", "test"):
        (batch,) = MemoryLoader(made, getattr(built, split), split=split, **keys)
        assert set(batch) == {"item", "label"}
    (batch,) = MemoryLoader(made, built.train, split="train", batch_size=1000)
    model = DNN(made, embedding_dim=4, hidden_units=[8], **BASE)
    model(batch)  # under FuxiCTR's fit, which knows no weights, a column that is no feature is an error


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, 2.0, -0.5] * 20,
            "train.csv', line 4: weight_col 'weight' is -0.5: a weight is a finite number",
        ),
        (["1", "1e400", "1"] * 20, "line 3: weight_col 'weight' is inf: a weight is a finite number"),
        (
            [1.0, None] * 20,
            "line 3: weight_col 'weight' is missing: a weight is a finite number of at least 0; correct",
        ),
        ([0.0] * 50 + [1.0] * 10, "weight_col 'weight': all weights of the training rows are 0"),
        (["1", "much"] * 20, "line 3: column 'weight' holds 'much', which is not a number"),
    ],
)
def test_bad_weights_are_refused(tmp_path, weights, message):
    with pytest.raises(RequestError) as caught:
        build_dataset(SPEC, write(tmp_path, weights), log=lambda message: None)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"weight_col": "wieght"}, "train_data has no weight_col 'wieght'. Did you mean 'weight'?"),
        ({"weight_col": "item"}, "weight_col 'item' is a feature, too"),
        ({"weight_col": "label"}, "weight_col 'label' is the label, too"),
        ({"rebuild_dataset": False}, "weight_col: this data is encoded already"),
    ],
)
def test_weight_columns_that_cannot_be(tmp_path, keys, message):
    with pytest.raises(RequestError) as caught:
        build_dataset(SPEC.model_copy(update=keys), write(tmp_path, [1.0] * 60), log=lambda message: None)
    assert message in str(caught.value)


def test_losses_know_weights_as_torch_does():
    """What `weighted_loss` stands on: the single losses of every loss that a config may name."""
    p, y = torch.rand(6, 1), torch.rand(6, 1)
    for loss in (F.binary_cross_entropy, F.mse_loss, F.l1_loss, F.huber_loss):
        torch.testing.assert_close(loss(p, y, reduction="none").mean(), loss(p, y, reduction="mean"))
