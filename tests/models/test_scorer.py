"""The snapshot that scores gives what the model gives."""

from __future__ import annotations

import pytest
import torch

from fuxictr_qnn.models import QNNalpha
from fuxictr_qnn.training.evaluation import score
from tests.synthetic import BASE, make_batches, make_feature_map

SIZES = {"a": 9, "b": 7, "c": 5}
ENCODERS = {
    "MaskedAveragePooling": "layers.MaskedAveragePooling()",
    "MaskedSumPooling": "layers.MaskedSumPooling()",
    "KMaxPooling": ["layers.KMaxPooling(k=1, dim=1)", "nn.Flatten(1)"],
}


def trained(
    vocabularies=SIZES, sequences=None, encoder="MaskedAveragePooling", **kwargs
) -> tuple[QNNalpha, list]:
    """A model in float64 whose weights and running statistics are nothing special, and batches for it."""
    feature_map = make_feature_map(vocabularies, sequences, dim=4)
    for name in sequences or ():
        feature_map.features[name]["feature_encoder"] = ENCODERS[encoder]
    params = {"embedding_dim": 4, "num_layers": 2, "num_row": 3, "batch_norm": True} | kwargs
    model = QNNalpha(feature_map, **params, **BASE).double()
    generator = torch.Generator().manual_seed(3)
    for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
        noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.data.copy_(noise + 0.5 if tensor.ndim == 1 else noise - 0.5)
    for table in model.embedding_layer.embedding_layer.embedding_layers.values():
        table.weight.data[0] = 0  # the padding
    model.eval()
    return model, make_batches(feature_map, 1500, 2)


@pytest.mark.parametrize(
    "layout, heads", [("reference", 1), *((x, 2) for x in ("reference", "aligned", "block"))]
)
@pytest.mark.parametrize("activation, batch_norm", [("relu", True), ("gelu", False)])
def test_a_scorer_predicts_what_its_model_predicts(layout, heads, activation, batch_norm):
    model, batches = trained(
        head_layout=layout, num_heads=heads, activation=activation, batch_norm=batch_norm
    )
    scorer = model.scorer()
    with torch.no_grad():
        for batch in batches:
            expected = model(batch)["y_pred"]
            assert expected.std() > 1e-3
            torch.testing.assert_close(scorer(batch), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("part", ["residual", "khatri_rao"])
def test_a_model_that_lacks_a_part_is_scored_without_it(part):
    model, batches = trained(**{part: False})
    scorer = model.scorer()
    with torch.no_grad():
        for batch in batches:
            torch.testing.assert_close(scorer(batch), model(batch)["y_pred"], rtol=1e-10, atol=0)


def test_a_scorer_is_a_snapshot_and_evaluation_takes_a_new_one():
    model, batches = trained()
    before = model.scorer()(batches[0])
    first = score(model, batches).y_pred
    with torch.no_grad():
        model.fc.bias += 1
    assert torch.equal(model.scorer()(batches[0]) > before, torch.ones_like(before, dtype=torch.bool))
    assert (score(model, batches).y_pred > first).all()


@pytest.mark.parametrize("sequences", [{"c": 3}, {"a": 4, "b": 1}, {"a": 2, "b": 3, "c": 5}])
@pytest.mark.parametrize("encoder", ["MaskedAveragePooling", "MaskedSumPooling"])
def test_sequences_are_pooled_as_the_model_does(sequences, encoder):
    model, batches = trained(sequences=sequences, encoder=encoder)
    scorer = model.scorer()
    for batch in batches:
        for name, length in sequences.items():  # some end early, some are padding alone
            batch[name][torch.arange(length) < torch.randint(length + 1, (1500, 1))] = 0
    with torch.no_grad():
        for batch in batches:
            torch.testing.assert_close(scorer(batch), model(batch)["y_pred"], rtol=1e-10, atol=0)


@pytest.mark.parametrize("changes", [{"sequences": {"c": 3}, "encoder": "KMaxPooling"}, {"fast": False}])
def test_a_model_that_cannot_be_packed_scores_by_itself(changes):
    model, batches = trained(**changes)
    assert model.scorer() is None
    with torch.no_grad():
        expected = torch.cat([model(batch)["y_pred"].view(-1) for batch in batches])
    assert score(model, batches).y_pred.tolist() == expected.tolist()


def test_features_of_several_widths_and_shared_tables():
    model, batches = trained()
    tables = model.embedding_layer.embedding_layer.embedding_layers
    tables["b"] = tables["a"]
    batches[0]["b"] = batches[0]["a"].clone()
    with torch.no_grad():
        torch.testing.assert_close(model.scorer()(batches[0]), model(batches[0])["y_pred"])
    tables["c"] = torch.nn.Embedding(5, 6).double()
    assert model.scorer() is None
