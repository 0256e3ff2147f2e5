"""Strings in a config that FuxiCTR would hand to `eval`, and the only shapes they may have.

A config from a stranger is data. So each of these strings is parsed, compared with a fixed
grammar and written out again; FuxiCTR only ever sees the text that is written here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from fuxictr_qnn.errors import nearest

GROUP_METRICS = ("gAUC", "avgAUC", "MRR", "NDCG")
METRICS = ("AUC", "logloss", "binary_crossentropy", "MSE", "RMSE", "MAE", *GROUP_METRICS)
ENCODERS = {
    "layers": ("MaskedAveragePooling", "MaskedSumPooling", "KMaxPooling", "MLP_Block"),
    "nn": ("Linear", "Identity", "Dropout", "LayerNorm", "ReLU", "GELU", "Sigmoid", "Tanh", "Flatten"),
}
NO_ENCODER = (None, "None", "none", "null")  # the text is how YAML's null is often misspelt
DEFAULT_ENCODER = "default"  # FuxiCTR's own choice by the column's type
INITIALIZERS = (
    "normal_ trunc_normal_ uniform_ constant_ zeros_ ones_ orthogonal_ "
    "xavier_normal_ xavier_uniform_ kaiming_normal_ kaiming_uniform_"
).split()
_DOTTED_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_dotted_path(text: str) -> bool:
    """Whether `text` has the form `package.module:name`."""
    return _DOTTED_PATH.fullmatch(text) is not None


def metric(name: str) -> str:
    """A metric: one of METRICS, `NDCG(k=5)`, or the dotted path of a function (y_true, y_pred)."""
    if is_dotted_path(name) or name in METRICS:
        return name
    cutoff = re.fullmatch(r"NDCG\(\s*(?:k\s*=\s*)?(\d+)\s*\)", name)
    if cutoff and int(cutoff[1]) > 0:
        return f"NDCG(k={int(cutoff[1])})"
    known = ", ".join(METRICS)
    raise ValueError(f"expected {known}, NDCG(k=5) or package.module:function.{nearest(name, METRICS)}")


def needs_groups(name: str) -> bool:
    """Whether the metric is computed within the groups of `group_id`."""
    return name.split("(")[0] in GROUP_METRICS


def regularizer(value: Any) -> float | str | None:
    """A weight for L2, or `l1(x)`, `l2(x)`, `l1_l2(x, y)`. A float, since FuxiCTR drops an int silently."""
    number = r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*"
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str):
        for shape in (rf"(l1|l2)\({number}\)", rf"(l1_l2)\({number},{number}\)"):
            match = re.fullmatch(shape, value.strip())
            if match:
                return f"{match[1]}({','.join(repr(float(weight)) for weight in match.groups()[1:])})"
    raise ValueError("expected a number >= 0, l1(x), l2(x) or l1_l2(x, y)")


def initializer(value: Any) -> str | None:
    """`nn.init.NAME` or `partial(nn.init.NAME, std=1e-4)`, NAME one of torch's initializers."""
    if value is None:
        return None
    expected = "expected nn.init.NAME or partial(nn.init.NAME, std=1e-4)"
    call = _parse(value, expected)
    if not isinstance(call, ast.Call):
        return _init_function(call, expected)
    if _dotted_name(call.func) not in ("partial", "functools.partial") or len(call.args) != 1:
        raise ValueError(expected)
    return f"partial({', '.join([_init_function(call.args[0], expected), *_keywords(call, expected)])})"


def _init_function(node: ast.expr, expected: str) -> str:
    name = _dotted_name(node).removeprefix("torch.")
    function = name.removeprefix("nn.init.")
    if not name.startswith("nn.init.") or function not in INITIALIZERS:
        raise ValueError(f"{expected}.{nearest(function, INITIALIZERS)}")
    return name


def feature_encoder(value: Any) -> str | list[str] | None:
    """A layer such as `layers.MaskedSumPooling()` or `nn.Linear(16, 8)` with literal arguments, or a list."""
    if isinstance(value, list):
        return [_encoder(item) for item in value]
    if value in NO_ENCODER:
        return None
    return value if value == DEFAULT_ENCODER else _encoder(value)


def _encoder(value: Any) -> str:
    expected = "expected a layer with literal arguments, such as layers.MaskedAveragePooling()"
    node = _parse(value, expected)
    arguments: list[str] = []
    if isinstance(node, ast.Call):
        arguments = [_literal(item, expected) for item in node.args] + _keywords(node, expected)
        node = node.func
    module, _, name = _dotted_name(node).rpartition(".")
    module = module.removeprefix("torch.") or "layers"
    if name not in ENCODERS.get(module, ()):
        known = [f"{module}.{name}" for module, names in ENCODERS.items() for name in names]
        raise ValueError(f"{expected}.{nearest(f'{module}.{name}', known) or ' Known: ' + ', '.join(known)}")
    return f"{module}.{name}({', '.join(arguments)})"


def _parse(value: Any, expected: str) -> ast.expr:
    if not isinstance(value, str) or len(value) > 500:
        raise ValueError(expected)
    try:
        return ast.parse(value.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(expected) from None


def _dotted_name(node: ast.expr) -> str:
    """`a.b.c` of nested attributes; empty for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted_name(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _literal(node: ast.expr, expected: str) -> str:
    try:
        return repr(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(expected) from None


def _keywords(call: ast.Call, expected: str) -> list[str]:
    if any(keyword.arg is None for keyword in call.keywords):
        raise ValueError(expected)
    return [f"{keyword.arg}={_literal(keyword.value, expected)}" for keyword in call.keywords]


def rule_for(key: str) -> Callable[[Any], Any] | None:
    """The grammar of a key whose value FuxiCTR would evaluate, None for any other key."""
    if key == "feature_encoder":
        return feature_encoder
    if key.endswith("regularizer"):
        return regularizer
    if key.endswith("initializer"):
        return initializer
    return None
