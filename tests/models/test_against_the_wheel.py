"""DCNv2 and FinalMLP give the logits of the classes in FuxiCTR's own wheel, with the same weights.

Those classes read a target item and a history of items, which they pool: the same as a feature and a
sequence that share their embedding. The wheel's FinalMLP builds its gates and leaves them out of its
forward pass, so they are compared by themselves.
"""

from __future__ import annotations

import sys

import pytest
import torch

from fuxictr_qnn.models import DCNv2, FinalMLP
from fuxictr_qnn.models.registry import _from_wheel
from tests.synthetic import BASE, make_feature_map, sequence_spec
from tests.written_out import randomised

USER = {"a": 9, "b": 7}
ITEM = {"type": "categorical", "source": "item", "padding_idx": 0, "vocab_size": 11}
FIT = {"optimizer": "adam", "loss": "binary_crossentropy", "learning_rate": 1e-3, "embedding_dim": 4}
MLP = {"parallel_dnn_hidden_units": [6, 5], "stacked_dnn_hidden_units": [6, 4]}
STREAMS = {"mlp1_hidden_units": [7, 6], "mlp2_hidden_units": [4], "num_heads": 2, "use_fs": False}
SETTINGS = [
    (DCNv2, {"model_structure": "crossnet_only"}),
    (DCNv2, MLP | {"model_structure": "stacked", "batch_norm": True}),
    (DCNv2, MLP | {"model_structure": "parallel"}),
    (DCNv2, MLP | {"model_structure": "stacked_parallel", "use_low_rank_mixture": True}),
    (FinalMLP, STREAMS),
    (FinalMLP, STREAMS | {"mlp1_batch_norm": True, "num_heads": 1}),
]


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(5)
    columns = {
        name: torch.randint(1, size, (16,), generator=generator) for name, size in (USER | {"i": 11}).items()
    }
    history = torch.randint(1, 11, (16, 3), generator=generator)
    history[:5, 0] = 0  # padding
    return columns | {"h": history, "label": torch.ones(16)}


def ours_of(cls, settings):
    shared = sequence_spec(11, 3) | {"share_embedding": "i"}
    feature_map = make_feature_map(USER, dim=4, extra={"i": ITEM | {"source": ""}, "h": shared})
    return cls(feature_map, **FIT, **settings, **BASE)


def theirs_of(cls, settings):
    feature_map = make_feature_map(USER, dim=4, extra={"i": ITEM})
    return randomised(_from_wheel(cls.__name__)(feature_map, **FIT, **settings, **BASE)).eval()


def renamed(weights, shapes):
    """The wheel's state under our names: one bias in place of two, the bilinear form head by head."""
    tables = "embedding_layer.embedding_layer.embedding_layers"
    state = {name.replace("fusion_module", "fusion"): value for name, value in weights.items()}
    if "fusion.w_xy" in state:
        state["fusion.w_x.bias"] = state["fusion.w_x.bias"] + state.pop("fusion.w_y.bias")
        state["fusion.w_xy"] = state["fusion.w_xy"].view(shapes["fusion.w_xy"].shape)
    return state | {f"{tables}.h.weight": state[f"{tables}.i.weight"]}


@pytest.mark.parametrize(("cls", "settings"), SETTINGS)
def test_the_same_logits(cls, settings, batch):
    theirs, ours = theirs_of(cls, settings).double(), ours_of(cls, settings).eval().double()
    ours.load_state_dict(renamed(theirs.state_dict(), ours.state_dict()))
    items = torch.cat([batch["h"], batch["i"][:, None]], dim=1)  # the target is the last
    own = {name: batch[name] for name in (*USER, "label")}
    expected = theirs((own, {"i": items.flatten()}, batch["h"] > 0))["y_pred"]
    assert expected.std() > 1e-3 and expected.dtype == torch.float64
    torch.testing.assert_close(ours(batch)["y_pred"].logit(), expected.logit(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("contexts", [([], []), (["a"], ["a", "b"])])
def test_the_same_gates_of_finalmlp(contexts, batch):
    feature_map = make_feature_map(USER, dim=4)
    selection = sys.modules[_from_wheel("FinalMLP").__module__].FeatureSelection
    theirs = randomised(selection(feature_map, 8, 4, [5], *contexts))
    keys = {"fs_hidden_units": [5], "fs1_context": contexts[0], "fs2_context": contexts[1]}
    ours = FinalMLP(feature_map, **FIT, **keys, **BASE)
    state = {}
    for name, value in theirs.state_dict().items():
        for part, own in (("gate", "mlp"), ("ctx_bias", "constant"), ("ctx_emb", "context")):
            name = name.replace(f"fs1_{part}", f"0.{own}").replace(f"fs2_{part}", f"1.{own}")
        state[name] = value
    ours.gates.load_state_dict(state)
    X = {name: batch[name] for name in USER}
    x = torch.randn(16, 8)
    expected = theirs(X, x)
    assert not torch.allclose(expected[0], expected[1])
    for gate, gated in zip(ours.gates, expected, strict=True):
        torch.testing.assert_close(x * gate(X), gated)
