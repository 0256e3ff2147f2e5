"""What every registered model promises; a new one is tested by being registered.

A model is built as a run builds it, from its config in model_zoo, but on features made up here. Models
that refuse features without an item table get features with one.
"""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fuxictr_qnn.config.load import load_experiment
from fuxictr_qnn.config.sources import read_expids
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.models.registry import OWN_MODELS
from fuxictr_qnn.models.self_ensemble import has_dropout
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.setup import build_model
from tests.synthetic import make_batches, make_feature_map, make_item_feature_map, sequence_spec, vector_spec

ROWS, DIM = 32, 8

# Small and quick; the rest is the config's. A few steps at this learning rate show.
SMALL = (f"embedding_dim={DIM}", "learning_rate=0.01", "metrics=[AUC, logloss]")

CATEGORICAL = {"type": "categorical", "padding_idx": 0, "vocab_size": 12}


@functools.cache
def expids_of(name: str) -> list[str]:
    """The model's expids, those of the simulated demo data first."""
    entries = [entry for entry in read_expids(None).values() if entry.get("model") == name]
    return [entry.name for entry in sorted(entries, key=lambda entry: entry.get("dataset_id") != "demo")]


@functools.cache
def experiment(expid: str, overrides: tuple[str, ...] = SMALL) -> Experiment:
    return load_experiment(expid, overrides=overrides).experiment


def build(feature_map, name: str, model_root="unused", **params):
    """The model of the first of its expids, small."""
    of_model = experiment(expids_of(name)[0])
    of_model = of_model.model_copy(update={"model_params": of_model.model_params | params})
    return build_model(of_model, feature_map, gpu=-1, model_root=model_root)


def features_for(name: str, extra=None, dim: int = DIM):
    """A feature map with categorical features and, where the model needs one, an item table."""
    if needs_items(name):
        return make_item_feature_map(dim, extra=extra)
    return make_feature_map({"a": 9, "b": 7, "c": 5}, dim=dim, extra=extra)


@functools.cache
def needs_items(name: str) -> bool:
    try:
        build(make_feature_map({"a": 9, "b": 7}, dim=DIM), name)
    except RequestError as error:
        return "item_info" in str(error)
    return False


def spread_out(model: nn.Module) -> nn.Module:
    """Embeddings start so near 0 that products of them would not count."""
    for name, parameter in model.named_parameters():
        if "embedding" in name and parameter.ndim == 2:
            parameter.data[1:].normal_(std=0.3, generator=torch.Generator().manual_seed(3))
    return model


@pytest.fixture(params=sorted(OWN_MODELS))
def name(request) -> str:
    return request.param


@pytest.fixture
def setting(name):
    """A model in evaluation mode, and a batch for it."""
    torch.manual_seed(1)
    feature_map = features_for(name)
    model = spread_out(build(feature_map, name))
    return model.eval(), make_batches(feature_map, ROWS, 1)[0]


def score(model, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model.eval()(batch)["y_pred"]


def rows(batch: dict[str, Tensor], chosen: slice) -> dict[str, Tensor]:
    return {name: values[chosen] for name, values in batch.items()}


def check_gradients(model, batch: dict[str, Tensor]) -> None:
    model.zero_grad()
    model.compute_loss(model.train()(batch), model.get_labels(batch)).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} takes no part in the loss"
            assert parameter.grad.isfinite().all(), name


def check_scores(model, batch: dict[str, Tensor]) -> None:
    scores = score(model, batch)
    assert scores.shape == (ROWS, 1) and scores.isfinite().all()
    assert scores.min() >= 0 and scores.max() <= 1 and scores.std() > 0


def test_every_config_of_the_zoo_builds(name):
    assert expids_of(name), f"model_zoo has no expid whose model is {name}"
    for expid in expids_of(name):
        as_written = experiment(expid, overrides=())
        columns = as_written.dataset.item_columns  # a config may name them
        items = {
            column.name: CATEGORICAL | {"source": "item"}
            for column in columns
            if column.type == "categorical"
        }
        features = features_for(name, extra=items, dim=as_written.features.embedding_dim or DIM)
        build_model(as_written, features, gpu=-1, model_root="unused")


def test_forward_and_backward(setting):
    check_gradients(*setting)
    check_scores(*setting)


def test_weights_carry_over(setting, name):
    model, batch = setting
    check_gradients(model, batch)  # moves what batch norm remembers
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = build(model.feature_map, name)
    assert not torch.equal(score(other, batch), score(model, batch))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(score(other, batch), score(model, batch))


def test_evaluation_depends_on_nothing_but_the_row(setting):
    model, batch = setting
    before = {name: values.clone() for name, values in batch.items()}
    scores = score(model, batch)
    assert torch.equal(score(model, batch), scores)
    assert torch.equal(score(model, dict(reversed(batch.items()))), scores)
    part = score(model, rows(batch, slice(5, 9)))
    torch.testing.assert_close(part, scores[5:9], rtol=1e-5, atol=1e-7)
    without_label = {name: values for name, values in batch.items() if name != "label"}
    assert torch.equal(score(model, without_label), scores)
    assert list(batch) == list(before)
    assert all(torch.equal(batch[name], values) for name, values in before.items())


def test_fuxictrs_loaders_give_other_types(setting):
    model, batch = setting
    wide = {name: v.long() if v.dtype == torch.int32 else v.double() for name, v in batch.items()}
    assert torch.equal(score(model, wide), score(model, batch))


def test_a_single_row(setting):
    model, batch = setting
    row = rows(batch, slice(1))
    torch.testing.assert_close(score(model, row), score(model, batch)[:1], rtol=1e-5, atol=1e-7)
    try:
        check_gradients(model, row)
    except ValueError as error:  # of torch's batch norm, which has nothing to go by
        assert "more than 1 value per channel" in str(error)


# Features of every kind, with the embedding dim filled in: works, or is refused for this reason.
KINDS = {
    "sequence": (lambda dim: sequence_spec(6, 4), ""),
    "numeric": (lambda dim: {"type": "numeric"}, ""),
    "embedding": (lambda dim: {"type": "embedding", "pretrain_dim": dim}, "type embedding: extra"),
    "embedding of another width": (
        lambda dim: {"type": "embedding", "pretrain_dim": dim + 3},
        "extra",
    ),
    "encoded embedding": (lambda dim: vector_spec(5, dim), "type embedding: extra"),
    "other dim": (
        lambda dim: CATEGORICAL | {"embedding_dim": dim + 2},
        "embedding_dim",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_features_work_or_are_refused_before_training(name, kind):
    make_spec, reason = KINDS[kind]
    for source in ["", "item"] if needs_items(name) else [""]:
        feature_map = features_for(name, extra={"extra": make_spec(DIM) | {"source": source}})
        works_or_refuses(name, feature_map, reason)


def works_or_refuses(name: str, feature_map, reason: str) -> None:
    """Trains and scores with these features, or its constructor refuses them and says `reason`."""
    try:
        model = spread_out(build(feature_map, name))
    except RequestError as error:
        assert isinstance(error.__cause__, ValueError) and reason and reason in str(error)
        return
    batch = make_batches(feature_map, ROWS, 1)[0]
    check_gradients(model, batch)
    check_scores(model, batch)


def test_features_of_items_are_looked_up_or_refused(name):
    works_or_refuses(name, make_item_feature_map(DIM), "item_vector")


def test_training_reduces_the_loss(name):
    torch.manual_seed(1)
    feature_map = features_for(name)
    model = build(feature_map, name).train()
    model._max_gradient_norm = 10.0
    losses = [model.train_step(batch).item() for batch in make_batches(feature_map, 128, 4) * 12]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.03


def test_fuxictrs_own_fit_trains_it(name, tmp_path):
    torch.manual_seed(1)
    feature_map = features_for(name)
    model = build(feature_map, name, model_root=tmp_path)
    (tmp_path / feature_map.dataset_id).mkdir()
    batches = make_batches(feature_map, 64, 8)
    before = model.evaluate(batches)
    model.fit(batches, epochs=2, validation_data=batches)
    after = model.evaluate(batches)
    assert set(after) == {"AUC", "logloss"} and after["AUC"] > before["AUC"]


def test_self_ensemble(name):
    feature_map = features_for(name)
    model = spread_out(build(feature_map, name, self_ensemble=True))
    batch = make_batches(feature_map, ROWS, 1)[0]
    check_gradients(model, batch)
    outputs = model.train()(batch)
    first, second = outputs["y_pred_1"], outputs["y_pred_2"]
    torch.testing.assert_close(outputs["y_pred"], (first + second) / 2)
    assert torch.equal(first, second) != has_dropout(model)
    assert set(model.eval()(batch)) == {"y_pred"}
