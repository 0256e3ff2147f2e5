"""The embedding layer is FuxiCTR's: the same weights, values and gradients, whatever the features are."""

from __future__ import annotations

import pytest
import torch
from fuxictr.pytorch import layers
from torch import nn

from fuxictr_qnn.layers import embedding
from fuxictr_qnn.models import DNN, LR, DeepFM, FinalMLP, WideDeep
from fuxictr_qnn.models.embedding import FeatureEmbedding
from tests.synthetic import BASE, make_batches, make_feature_map, sequence_spec, vector_spec

SIZES = {"a": 9, "b": 7, "c": 5}
KINDS = {
    "ids": {},
    "a sequence": {"sequences": {"b": 3}},
    "a number": {"extra": {"n": {"type": "numeric"}}},
    "a vector": {"extra": {"v": vector_spec(6, 4)}},
    "another width": {"extra": {"w": {"type": "categorical", "vocab_size": 3, "embedding_dim": 2}}},
    "a shared table": {"extra": {"s": {"type": "categorical", "vocab_size": 9, "share_embedding": "a"}}},
    "no plain id": {"sequences": dict.fromkeys(SIZES, 3)},
}


def both(kind: str):
    feature_map = make_feature_map(SIZES, dim=4, **KINDS[kind])
    torch.manual_seed(1)
    ours = FeatureEmbedding(feature_map, 4)
    torch.manual_seed(1)
    theirs = layers.FeatureEmbedding(feature_map, 4)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    (batch,) = make_batches(feature_map, 50, 1)
    return ours, theirs, {name: column for name, column in batch.items() if name in feature_map.features}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flatten", [True, False])
def test_values_and_gradients_are_fuxictrs(kind, flatten):
    if kind == "another width" and not flatten:
        pytest.skip("FuxiCTR cannot stack them")
    ours, theirs, X = both(kind)
    outs = [layer(X, flatten_emb=flatten) for layer in (ours, theirs)]
    assert torch.equal(*outs)
    weights = torch.randn_like(outs[0])
    for out in outs:
        (out * weights).sum().backward()
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_plain_ids_are_looked_up_in_one_go(monkeypatch):
    looked_up = {}
    for kind in KINDS:
        ours, _, X = both(kind)
        names = {id(table): name for name, table in ours.embedding_layer.embedding_layers.items()}
        monkeypatch.setattr(
            "fuxictr_qnn.models.embedding.embedding_rows",
            lambda ids, tables, kind=kind, names=names: (
                looked_up.update({kind: "".join(names[id(table)] for table in tables)})
                or embedding.embedding_rows(ids, tables)
            ),
        )
        ours(X, flatten_emb=True)
    rest = {"a sequence": "ac", "a shared table": "bc"}
    assert looked_up == {kind: rest.get(kind, "abc") for kind in KINDS if kind != "no plain id"}


def test_widths_that_cannot_be_stacked_are_refused_as_by_fuxictr():
    widths = {
        name: {"type": "categorical", "vocab_size": 3, "embedding_dim": dim}
        for name, dim in (("narrow", 2), ("wide", 6))  # 4 and 4 together
    }
    feature_map = make_feature_map(SIZES, dim=4, extra=widths)
    (batch,) = make_batches(feature_map, 50, 1)
    with pytest.raises(RuntimeError, match="equal size"):
        FeatureEmbedding(feature_map, 4)({name: batch[name] for name in feature_map.features})


def test_some_of_the_features():
    ours, theirs, X = both("ids")
    for chosen in ({"feature_type": ["categorical"]}, {"feature_source": ["user"]}):
        try:
            expected = theirs(X, **chosen)
        except RuntimeError:  # nothing to stack
            with pytest.raises(RuntimeError):
                ours(X, **chosen)
        else:
            assert torch.equal(ours(X, **chosen), expected)
    part = {"c": X["c"], "a": X["a"]}
    assert torch.equal(ours(part), theirs(part))


@pytest.mark.parametrize("cls", [DNN, LR, WideDeep, DeepFM, FinalMLP])
def test_tables_that_nothing_shares_start_small(cls):
    """FuxiCTR draws linear weights of a feature that shares its embedding from N(0, 1), others from 1e-4."""
    shares = sequence_spec(90, 3) | {"share_embedding": "i"}
    feature_map = make_feature_map({"a": 90, "i": 90}, dim=4, extra={"h": shares})
    options = {"fs1_context": ["h"]} if cls is FinalMLP else {}
    torch.manual_seed(0)
    model = cls(feature_map, embedding_dim=4, **options, **BASE)
    tables = {name: table.weight for name, table in model.named_modules() if isinstance(table, nn.Embedding)}
    assert len(tables) == {DNN: 2, LR: 3, FinalMLP: 3}.get(cls, 5)
    for name, weight in tables.items():
        assert 5e-5 < weight[1:].std() < 2e-4 and not weight[0].any(), name
