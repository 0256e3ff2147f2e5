"""TransformerDCN: what goes on to its top, masks, and its options."""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn.models import TransformerDCN
from tests.synthetic import BASE, make_batches, make_item_feature_map


def small(**kwargs):
    torch.manual_seed(1)
    feature_map = make_item_feature_map(dim=4)
    options = {"feedforward_dim": 8, "last_outputs": 3, "dnn_hidden_units": [6]} | kwargs
    model = TransformerDCN(feature_map, embedding_dim=4, **options, **BASE)
    for parameter in model.embedding_layer.parameters():
        parameter.data.normal_(std=0.5)
    return model.eval(), make_batches(feature_map, 16, 1)[0]


@pytest.mark.parametrize("last_outputs", [1, 3, 5, 8])
def test_last_outputs_and_the_maximum_one_history_at_a_time(last_outputs):
    """Each history cut to its real items and run on its own, without any mask."""
    model, batch = small(last_outputs=last_outputs)
    rows = model.embed(model.get_inputs(batch))
    together, k = model.interest(rows), last_outputs
    assert together.shape == (16, (k + 1) * 24)
    for b, ids in enumerate(batch["item_seq"]):
        items = rows.table_UD[ids[ids != 0].long()]
        if not len(items):
            assert not together[b].any()
            continue
        steps = torch.cat([items, rows.target_BD[b].expand_as(items)], dim=1)
        outputs = model.transformer(steps.unsqueeze(0))[0]
        expected = torch.zeros(k, 24)
        expected[-min(k, len(outputs)) :] = outputs[-k:]
        torch.testing.assert_close(together[b, :-24], expected.flatten(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(together[b, -24:], outputs.amax(0), rtol=1e-5, atol=1e-6)


def test_the_top_is_a_cross_network_beside_an_mlp():
    model, batch = small()
    rows = model.embed(model.get_inputs(batch))
    x = torch.cat([rows.context_BC, rows.target_BD, model.interest(rows)], dim=1)
    crossed = x
    for layer in model.cross_net.cross_layers:
        crossed = crossed + x * layer(crossed)
    hidden = torch.relu(x @ model.mlp.mlp[0].weight.T + model.mlp.mlp[0].bias)
    logit = torch.cat([crossed, hidden], dim=1) @ model.fc.weight.T + model.fc.bias
    torch.testing.assert_close(model(batch)["y_pred"], torch.sigmoid(logit), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_heads": 5}, "num_heads=5 does not divide 24"),
        ({"last_outputs": 0}, "must be at least 1"),
        ({"num_transformer_layers": 0}, "must be at least 1"),
        ({"dnn_hidden_units": []}, "dnn_hidden_units needs at least one width"),
    ],
)
def test_bad_arguments(kwargs, words):
    with pytest.raises(ValueError, match=words):
        small(**kwargs)
