"""Names of weights from elsewhere. Whole networks are compared: the renamed weights must compute the same."""

from __future__ import annotations

import re

import pytest
import torch
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.models import DNN, QNNalpha
from fuxictr_qnn.training.renamed_weights import renamed
from tests.synthetic import BASE, make_batches, make_feature_map

SIZES = {"a": 9, "b": 7}


class FromFuxictr(BaseModel):
    """A network as FuxiCTR's zoo writes it: its own embeddings and MLP_Block."""

    def __init__(self, feature_map, **kwargs):
        super().__init__(feature_map, model_id="DNN", **kwargs)
        self.embedding_layer = FeatureEmbedding(feature_map, 4)
        self.mlp = MLP_Block(
            input_dim=8, output_dim=1, hidden_units=[8], hidden_activations="ReLU", output_activation=None
        )
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs):
        x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.output_activation(self.mlp(x))}


def shapes(model) -> dict:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def load(model, weights, rename=()):
    found = renamed(weights, shapes(model), dict(rename))
    model.load_state_dict(found)
    return model.eval()


def randomised(model):
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.data.normal_()
    return model.eval()


def test_a_model_of_fuxictr_computes_the_same_here():
    feature_map = make_feature_map(SIZES, dim=4)
    theirs = randomised(FromFuxictr(feature_map, **BASE))
    ours = load(DNN(feature_map, embedding_dim=4, hidden_units=[8], **BASE), theirs.state_dict())
    batch = make_batches(feature_map, 16, 1)[0]
    torch.testing.assert_close(ours(batch)["y_pred"], theirs(batch)["y_pred"])


OLD_NAMES = [
    [(r"^", "module.")],
    [(r"embedding_layers", "embedding_layer"), (r"^mlp\.mlp", "dnn.dnn")],
    [(r"^mlp\.", "dnn.")],
    [(r"^embedding_layer\.embedding_layer", "embedding_layer"), (r"^", "_orig_mod.")],
]


@pytest.mark.parametrize("names", OLD_NAMES)
def test_older_names(names):
    feature_map = make_feature_map(SIZES, dim=4)
    model = randomised(DNN(feature_map, embedding_dim=4, hidden_units=[8, 8], **BASE))
    check(model, names, DNN(feature_map, embedding_dim=4, hidden_units=[8, 8], **BASE))


AUTHORS_NAMES = [
    [(r"^network\.layers\.(\d)\.linear", r"qnn.layer.\1.linear"), (r"^fc", "qnn.fc")],
    [(r"^network\.layers\.(\d)\.bn", r"QNN.norm.\1"), (r"^network\.layers\.(\d)\.linear", r"QNN.layer.\1.w")],
]


@pytest.mark.parametrize("names", AUTHORS_NAMES)
def test_guessed_names_of_quadratic_networks(names):
    feature_map = make_feature_map(SIZES, dim=4)
    arguments = {"embedding_dim": 4, "num_layers": 2, "num_row": 2, "batch_norm": True, **BASE}
    check(randomised(QNNalpha(feature_map, **arguments)), names, QNNalpha(feature_map, **arguments))


def check(model, names, fresh):
    weights = {}
    for name, tensor in model.state_dict().items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        weights[name] = tensor
    assert weights.keys() != model.state_dict().keys()
    loaded = load(fresh, weights)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_the_users_own_names_come_first_and_a_wrong_shape_keeps_its_name():
    wanted = {"network.a": (2,), "network.b": (3,)}
    source = {"tower.a": torch.ones(2), "qnn.b": torch.ones(4)}
    found = renamed(source, wanted, {"tower.": "network."})
    assert set(found) == {"network.a", "qnn.b"}


def test_without_guesses_names_stay():
    source = {"qnn.fc.weight": torch.ones(2)}
    assert set(renamed(source, {"fc.weight": (2,)}, {})) == {"fc.weight"}
    assert set(renamed(source, {"fc.weight": (2,)}, {}, guess=False)) == {"qnn.fc.weight"}
