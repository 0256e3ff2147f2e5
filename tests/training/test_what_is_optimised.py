"""The test that matters most: what one step follows is the self-ensemble loss, and all of it.

FuxiCTR 2.0.2 to 2.3.3 never called a model's own add_loss, so that such losses silently vanished.
Here the gradient of one step, under our fit loop and under FuxiCTR's train_step, is compared with
that of the formula, written out.
"""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn.models import QNNalpha
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.step import TrainStep
from tests.synthetic import BASE

L2 = 0.05


def written_out(p1, p2, y, tables):
    """BCE of the mean, BCE of each pass towards the detached mean, L2 of the embeddings; eq. 11."""

    def cross_entropy(p, target):
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()

    mean = (p1 + p2) / 2
    target = mean.detach()
    return (
        cross_entropy(mean, y)
        + cross_entropy(p1, target)
        + cross_entropy(p2, target)
        + L2 / 2 * sum((table**2).sum() for table in tables)
    )


def plain(p1, p2, y, tables):
    """What would be optimised if the model's own loss were dropped."""
    mean = (p1 + p2) / 2
    return -(y * mean.log() + (1 - y) * (1 - mean).log()).mean() + L2 / 2 * sum((t**2).sum() for t in tables)


def make_model(feature_map, fast):
    torch.manual_seed(3)
    model = QNNalpha(
        feature_map,
        embedding_dim=4,
        num_layers=2,
        num_row=3,
        net_dropout=0.3,
        batch_norm=True,
        fast=fast,
        embedding_regularizer=L2,
        **BASE,
    )
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.2)
    # plain gradient descent with rate 1 moves the weights by exactly the gradient
    model.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model._max_gradient_norm = 1e9
    return model.double()


def gradient_of(loss, feature_map, batch, fast):
    model = make_model(feature_map, fast).train()
    torch.manual_seed(11)
    outputs = model(batch)
    tables = [table.weight for table in model.embedding_layer.embedding_layer.embedding_layers.values()]
    y = batch["label"].double().view(-1, 1)
    loss(outputs["y_pred_1"], outputs["y_pred_2"], y, tables).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def step_under(loop, feature_map, batch, fast):
    model = make_model(feature_map, fast).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.get_labels = lambda inputs: inputs["label"].double().view(-1, 1)
    torch.manual_seed(11)
    if loop == "fuxictr":
        model.train_step(batch)
    else:
        TrainStep(model, FitSettings(max_gradient_norm=1e9))([batch])
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("loop", ["ours", "fuxictr"])
def test_one_step_follows_the_written_out_loss(loop, fast, feature_map, train_batches):
    moved = step_under(loop, feature_map, train_batches[0], fast)
    expected = gradient_of(written_out, feature_map, train_batches[0], fast)
    without = gradient_of(plain, feature_map, train_batches[0], fast)
    assert moved.keys() == expected.keys()
    for name in moved:
        torch.testing.assert_close(moved[name], expected[name], rtol=1e-7, atol=1e-11)
    gap = max((moved[name] - without[name]).abs().max().item() for name in moved)
    assert gap > 1e-3, "dropping the consistency terms would not have been noticed"
