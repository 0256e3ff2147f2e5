"""Strings that FuxiCTR would evaluate: what passes, and that nothing else does."""

from __future__ import annotations

import pytest

from fuxictr_qnn import grammar

ATTACKS = [
    "__import__('os').system('id')",
    "layers.MaskedSumPooling(__import__('os'))",
    "layers.__class__",
    "nn.Linear.__init__.__globals__['os']",
    "nn.Linear(*open('/etc/passwd'))",
    "nn.Linear(**{'a': print(1)})",
    "partial(nn.init.normal_, std=exec('1'))",
    "partial(exec, 'print(1)')",
    "nn.init.normal_ or exec('1')",
    "(lambda: 1)()",
    "[x for x in ().__class__.__base__.__subclasses__()]",
    "NDCG(k=5) and print(1)",
    "l2(__import__('os'))",
    "os.system:id; rm",
    "a" * 10_000,
    "(" * 400,
    "",
    "\x00",
    3,
    {"a": 1},
]


@pytest.mark.parametrize("rule", [grammar.feature_encoder, grammar.initializer, grammar.regularizer])
@pytest.mark.parametrize("value", ATTACKS)
def test_code_is_refused(rule, value):
    if rule is grammar.regularizer and value == 3:
        return  # a plain weight
    with pytest.raises(ValueError):
        rule(value)


@pytest.mark.parametrize("value", [value for value in ATTACKS if isinstance(value, str)])
def test_code_is_no_metric(value):
    with pytest.raises(ValueError):
        grammar.metric(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("layers.MaskedAveragePooling()", "layers.MaskedAveragePooling()"),
        ("MaskedSumPooling", "layers.MaskedSumPooling()"),
        ("layers.KMaxPooling(2, dim=1)", "layers.KMaxPooling(2, dim=1)"),
        ("torch.nn.Linear(64, 16, bias=False)", "nn.Linear(64, 16, bias=False)"),
        (["layers.MaskedSumPooling()", "nn.ReLU()"], ["layers.MaskedSumPooling()", "nn.ReLU()"]),
        (None, None),
        ("None", None),
        ("default", "default"),
    ],
)
def test_feature_encoders(value, written):
    assert grammar.feature_encoder(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("partial(nn.init.normal_, std=1e-4)", "partial(nn.init.normal_, std=0.0001)"),
        ("nn.init.xavier_uniform_", "nn.init.xavier_uniform_"),
        ("torch.nn.init.zeros_", "nn.init.zeros_"),
        (None, None),
    ],
)
def test_initializers(value, written):
    assert grammar.initializer(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1, 1.0),
        (1e-5, 1e-5),
        (0, 0.0),
        ("l1(0.1)", "l1(0.1)"),
        ("l2(1e-5)", "l2(1e-05)"),
        ("l1_l2(1e-3, 0.1)", "l1_l2(0.001,0.1)"),
        (None, None),
    ],
)
def test_regularizers(value, written):
    assert grammar.regularizer(value) == written


@pytest.mark.parametrize("value", [-1, True, "l3(1)", "l2(1", "l1(1,2)", "l2(1e5e)", "much"])
def test_wrong_regularizers(value):
    with pytest.raises(ValueError, match="expected a number >= 0"):
        grammar.regularizer(value)


def test_regularizers_mean_to_fuxictr_what_was_written():
    from fuxictr.pytorch.torch_utils import get_regularizer

    assert get_regularizer(grammar.regularizer(1)) == [(2, 1.0)]  # FuxiCTR reads the int 1 as none at all
    assert get_regularizer(grammar.regularizer("l1(1e-3)")) == [(1, 1e-3)]
    assert get_regularizer(grammar.regularizer("l1_l2(1e-3, 0.1)")) == [(1, 1e-3), (2, 0.1)]


@pytest.mark.parametrize(
    ("value", "written"),
    [("AUC", "AUC"), ("NDCG(k=5)", "NDCG(k=5)"), ("NDCG( 10 )", "NDCG(k=10)"), ("pkg.mod:fn", "pkg.mod:fn")],
)
def test_metrics(value, written):
    assert grammar.metric(value) == written


@pytest.mark.parametrize(
    ("value", "hint"),
    [("auc", "'AUC'"), ("LogLoss", "'logloss'"), ("NDCG@5", "NDCG"), ("NDCG(k=0)", "NDCG")],
)
def test_wrong_metrics_name_the_nearest(value, hint):
    with pytest.raises(ValueError, match=hint):
        grammar.metric(value)


def test_encoders_and_initializers_exist_in_fuxictr():
    from fuxictr.pytorch import layers
    from torch import nn

    for module, names in {"layers": layers, "nn": nn}.items():
        assert [name for name in grammar.ENCODERS[module] if not hasattr(names, name)] == []
    assert [name for name in grammar.INITIALIZERS if not hasattr(nn.init, name)] == []


def test_metrics_are_those_that_are_computed():
    from fuxictr_qnn.training.metrics import GROUP_METRICS, ROW_METRICS

    assert set(grammar.METRICS) == {*ROW_METRICS, *GROUP_METRICS}
    assert [name for name in grammar.METRICS if grammar.needs_groups(name)] == list(GROUP_METRICS)
