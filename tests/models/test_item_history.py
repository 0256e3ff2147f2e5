"""What all models over item histories share: the item table, empty histories, batches left as they were."""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn.models import DIN, QIN, TransformerDCN
from tests.synthetic import BASE, make_batches, make_feature_map, make_item_feature_map

OPTIONS = {
    QIN: {"num_layers": 2, "num_row": 2},
    DIN: {"dnn_hidden_units": [8], "attention_hidden_units": [8]},
    TransformerDCN: {"feedforward_dim": 8, "last_outputs": 3, "dnn_hidden_units": [8], "num_cross_layers": 1},
}
MODELS = pytest.mark.parametrize("cls", list(OPTIONS))


def built(cls, **kwargs):
    torch.manual_seed(0)
    feature_map = make_item_feature_map(dim=4, **kwargs)
    model = cls(feature_map, embedding_dim=4, **OPTIONS[cls], **BASE)
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.5)
    return model, make_batches(feature_map, 8, 1)[0]


@MODELS
def test_a_batch_is_left_as_it_was(cls):
    model, batch = built(cls)
    before = {name: (tensor, tensor.clone()) for name, tensor in batch.items()}
    model.train()(batch)["y_pred"].sum().backward()
    assert list(batch) == list(before)
    for name, (tensor, copy) in before.items():
        assert batch[name] is tensor and torch.equal(tensor, copy)


@MODELS
def test_the_item_table_moves_with_the_model_but_is_not_in_its_weights(cls):
    model, batch = built(cls)
    assert not [name for name in model.state_dict() if name.startswith("items_")]
    assert {"items_item_id", "items_item_tags", "items_item_vector"} <= dict(model.named_buffers()).keys()
    other, _ = built(cls)
    for parameter in other.parameters():
        parameter.data.normal_()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(batch)["y_pred"], model.eval()(batch)["y_pred"])


@MODELS
def test_histories_without_items_are_finite(cls):
    model, batch = built(cls)
    batch["item_seq"] = torch.zeros_like(batch["item_seq"])
    out = model.train()(batch)["y_pred"]
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@MODELS
def test_padding_does_not_matter(cls):
    """A longer history of padding and the same items, at evaluation."""
    model, batch = built(cls)
    longer = batch | {"item_seq": torch.nn.functional.pad(batch["item_seq"], (3, 0))}
    a, b = (model.eval()(x)["y_pred"] for x in (batch, longer))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@MODELS
def test_a_row_scores_the_same_alone_and_in_a_batch(cls):
    """Alone, only its own items are embedded; in the batch, all of the table."""
    model, batch = built(cls)
    together = model.eval()(batch)["y_pred"]
    for i in range(len(together)):
        alone = model({name: tensor[i : i + 1] for name, tensor in batch.items()})["y_pred"]
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-5, atol=1e-6)


@MODELS
def test_only_items_in_use_are_embedded_when_the_table_is_large(cls):
    model, batch = built(cls, items=1000)
    rows = model.embed(model.get_inputs(batch))
    used = torch.cat([batch["item_id"], batch["item_seq"].flatten()]).unique()
    assert len(rows.table_UD) == len(used) < 60
    everything = model.embedding_layer(
        {name: model.items_for(name) for name in model.item_features}, flatten_emb=True
    )
    torch.testing.assert_close(rows.table_UD[rows.index_BS], everything[batch["item_seq"].long()])
    torch.testing.assert_close(rows.target_BD, everything[batch["item_id"].long()])
    assert torch.equal(rows.mask_BS, batch["item_seq"] != 0)


@MODELS
def test_training_reduces_the_loss(cls):
    model, batch = built(cls)
    model._max_gradient_norm = 10.0
    losses = [model.train().train_step(batch).item() for _ in range(60)]
    assert min(losses[-5:]) < losses[0] - 0.02


@MODELS
def test_rows_without_features_of_their_own(cls):
    feature_map = make_item_feature_map(dim=4)
    del feature_map.features["level"]
    model = cls(feature_map, embedding_dim=4, **OPTIONS[cls], **BASE)
    assert model.context_dim == 0
    assert model.eval()(make_batches(feature_map, 8, 1)[0])["y_pred"].shape == (8, 1)


@MODELS
def test_data_without_an_item_table_is_refused(cls):
    with pytest.raises(ValueError, match="reads histories of items: the dataset needs item_info"):
        cls(make_feature_map({"a": 5}), **BASE)


@MODELS
def test_a_table_of_other_features_is_refused(cls):
    feature_map = make_item_feature_map(dim=4)
    del feature_map.item_table["item_tags"]
    with pytest.raises(ValueError, match="the features with source: item are item_id, item_tags"):
        cls(feature_map, **BASE)
