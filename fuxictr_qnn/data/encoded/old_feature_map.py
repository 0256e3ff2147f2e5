"""feature_map.json as FuxiCTR 1.x and 2.0 wrote it, in today's words.

    1.x   {"dataset_id", "num_fields", "num_features", "feature_len", "label_name",
           "feature_specs": {NAME: {"type", "source", "index", "vocab_size", "encoder", ...}}}
    2.0   {"dataset_id", "num_fields", "total_features", "input_length", "labels",
           "features": [{NAME: {"type", "source", "vocab_size", "feature_encoder", ...}}]}

Releases between these mix the words (embedding_callback, features as one mapping); any mixture is read.
What a feature says is kept as far as it has a meaning today. Ids are taken as they are: vocab_size counts
padding and unknown tokens in every release, whichever ids those had.
"""

from __future__ import annotations

from typing import Any

from fuxictr_qnn.errors import nearest, shown

FEATURES = ("features", "feature_specs")
LABELS = ("labels", "label_name")
ENCODERS = ("feature_encoder", "encoder", "embedding_callback")
KEPT = ("source", "type", "share_embedding", "embedding_dim", "emb_output_dim", "pretrain_dim")
WIDTH = {"sequence": "max_len", "embedding": "pretrain_dim"}
TYPES = ("categorical", "numeric", "sequence", "embedding", "meta")


def is_old(content: Any) -> bool:
    """Whether today's FuxiCTR would stumble over this feature map."""
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        return True
    specs = _specs(content).values()
    return "labels" not in content or any(
        key in spec for spec in specs if isinstance(spec, dict) for key in ENCODERS[1:]
    )


def translated(content: Any, labels: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Today's feature map and the problems of the old one.

    Each feature gets `index`, its column (or columns) in FuxiCTR's matrix of all features: what the old
    map says, else the features one after another.

    Args:
        labels: names to use where the old map has none (the config's label_col).
    """
    if not isinstance(content, dict) or not _specs(content):
        return {}, ["it has neither 'features' nor 'feature_specs': this is no feature map of FuxiCTR"]
    problems: list[str] = []
    features: dict[str, dict[str, Any]] = {}
    next_column = 0
    for name, spec in _specs(content).items():
        if not isinstance(spec, dict) or spec.get("type") not in TYPES:
            found = shown(spec.get("type") if isinstance(spec, dict) else spec)
            problems.append(f"feature '{name}': type {found} is none of {', '.join(TYPES)}")
            continue
        wrong = _problems(name, spec, _specs(content))
        problems += wrong
        features[name] = _feature(spec)
        width = 1 if wrong else spec.get(WIDTH.get(spec["type"]), 1)
        columns = spec.get("index", list(range(next_column, next_column + width)))
        features[name]["index"] = columns if isinstance(columns, list) else [columns]
        next_column += width
    problems += _index_problems(features) if not problems else []
    named = next((content[key] for key in LABELS if content.get(key)), labels or ["label"])
    return {
        "dataset_id": content.get("dataset_id"),
        "num_fields": sum(feature["type"] != "meta" for feature in features.values()),
        "total_features": content.get("total_features", content.get("num_features", 0)),
        "input_length": next_column,
        "labels": [named] if isinstance(named, str) else named,
        "features": [{name: feature} for name, feature in features.items()],
    }, problems


def _specs(content: dict[str, Any]) -> dict[str, Any]:
    """Name -> description of the features, in their order."""
    found = next((content[key] for key in FEATURES if content.get(key)), [])
    if isinstance(found, dict):
        return found
    items = found if isinstance(found, list) else []
    return {name: spec for item in items if isinstance(item, dict) for name, spec in item.items()}


def _feature(spec: dict[str, Any]) -> dict[str, Any]:
    feature = {"source": "", **{key: spec[key] for key in KEPT if spec.get(key) is not None}}
    encoder = next((spec[key] for key in ENCODERS if spec.get(key)), None)
    if encoder not in (None, "null", "None", "none"):
        feature["feature_encoder"] = encoder
    if spec["type"] in ("categorical", "sequence"):
        if spec.get("padding_idx") == 0:
            feature["padding_idx"] = 0
        if spec["type"] == "sequence":
            feature["max_len"] = spec.get("max_len")
        feature["vocab_size"] = spec.get("vocab_size")
    return feature


def _problems(name: str, spec: dict[str, Any], specs: dict[str, Any]) -> list[str]:
    kind = spec["type"]
    counts = ["vocab_size"] if kind in ("categorical", "sequence") else []
    counts += [WIDTH[kind]] if kind in WIDTH else []
    problems = [
        f"feature '{name}': {key} = {shown(spec.get(key))} is not a number of at least 1"
        for key in counts
        if not isinstance(spec.get(key), int) or spec[key] < 1
    ]
    if kind == "sequence" and spec.get("padding_idx", 0) not in (0, None):
        problems.append(
            f"feature '{name}': sequences are padded with id {spec['padding_idx']}, where FuxiCTR 2.3 knows "
            "0 only: build from the raw data, or leave it out"
        )
    if spec.get("pretrained_emb"):
        problems.append(
            f"feature '{name}': pretrained_emb of an old build is not read: build from the raw data"
        )
    shared = spec.get("share_embedding")
    if shared and shared not in specs:
        problems.append(
            f"feature '{name}': share_embedding '{shared}' is no feature.{nearest(shared, specs)}"
        )
    return problems


def _index_problems(features: dict[str, dict[str, Any]]) -> list[str]:
    """Each feature has as many columns as it is wide, and no two have the same."""
    problems = []
    owner: dict[int, str] = {}
    for name, feature in features.items():
        width = feature.get(WIDTH.get(feature["type"], ""), 1)
        columns = feature["index"]
        if len(columns) != width or not all(isinstance(column, int) and column >= 0 for column in columns):
            problems.append(f"feature '{name}': index {shown(columns)} does not name {width} columns")
            continue
        taken = {owner[column] for column in columns if column in owner}
        problems += [f"features '{other}' and '{name}' have the same index" for other in sorted(taken)]
        owner |= dict.fromkeys(columns, name)
    return problems
