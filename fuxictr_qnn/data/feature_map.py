"""FuxiCTR's feature_map.json: written by a build, read with the choices of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from fuxictr_qnn.data.items.table import FILE_NAME as ITEM_TABLE
from fuxictr_qnn.data.items.table import read_arrays
from fuxictr_qnn.data.spec import ITEM_HISTORY, ITEM_KEY, ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.grammar import feature_encoder

SEQUENCE_ENCODER = "layers.MaskedAveragePooling()"


class FeatureChoice(Protocol):
    """How a model sees the features: FuxiCTR's keys of the same names."""

    embedding_dim: int | None
    use_features: list[str] | None
    feature_specs: list[dict[str, Any]] | None


class Sized(Protocol):
    """What gives a column its ids: they are below `size`."""

    @property
    def size(self) -> int: ...


def describe(
    spec: DatasetSpec, vocabularies: dict[str, Vocabulary | Sized], max_len: dict[str, int]
) -> dict[str, Any]:
    """The contents of feature_map.json. Of buckets only the `size` counts."""
    features = {
        column.name: _feature(column, vocabularies.get(column.name), max_len.get(column.name, 0))
        for column in spec.active_columns
    }
    widths = {"sequence": "max_len", "embedding": "pretrain_dim"}
    return {
        "dataset_id": spec.dataset_id,
        "num_fields": sum(feature["type"] != "meta" for feature in features.values()),
        "total_features": sum(map(_own_ids, features.values())),
        "input_length": sum(
            feature[widths[feature["type"]]] if feature["type"] in widths else 1
            for feature in features.values()
        ),
        "labels": [label.name for label in spec.label_col],
        "features": [{name: feature} for name, feature in features.items()],
    }


def _own_ids(feature: dict[str, Any]) -> int:
    """Rows that a feature adds to the embedding tables."""
    if feature["type"] == "numeric":
        return 1
    return 0 if "share_embedding" in feature else feature.get("vocab_size", 0)


def _feature(column: ColumnSpec, vocabulary: Vocabulary | Sized | None, max_len: int) -> dict[str, Any]:
    if column.type == "meta":
        return {"type": "meta", **({"max_len": column.max_len} if column.max_len else {})}
    feature: dict[str, Any] = {"source": column.source, "type": column.type}
    encoder = column.feature_encoder
    if encoder == "default":
        encoder = SEQUENCE_ENCODER if column.type == "sequence" else None
    if encoder not in (None, "null", "None", "none"):
        feature["feature_encoder"] = encoder
    _set(feature, column, "embedding_dim")
    if column.type == "embedding":
        feature["pretrain_dim"] = column.vector_width
    if not column.has_vocabulary:
        return feature
    _set(feature, column, "emb_output_dim", "share_embedding")
    feature["padding_idx"] = 0
    if column.pretrained_emb:
        feature["oov_idx"] = vocabulary.oov
    if column.type == "sequence":
        feature["max_len"] = max_len
    feature["vocab_size"] = vocabulary.size
    if column.pretrained_emb:
        _set(feature, column, "pretrain_dim")
        feature["pretrained_emb"] = pretrained_name(column)
        feature["freeze_emb"] = column.freeze_emb
        feature["pretrain_usage"] = column.pretrain_usage
    return feature


def _set(feature: dict[str, Any], column: ColumnSpec, *keys: str) -> None:
    for key in keys:
        if (value := getattr(column, key)) is not None:
            feature[key] = value


def pretrained_name(column: ColumnSpec) -> str:
    """The name, within a build, of the column's pretrained embedding."""
    return f"pretrained_{column.name}{Path(column.pretrained_emb or '').suffix}"


def load_feature_map(path: Path, spec: DatasetSpec, choice: FeatureChoice) -> Any:
    """FuxiCTR's FeatureMap of a build, with the experiment's choices applied.

    num_fields counts the features in use (FuxiCTR counts before it applies use_features).

    `weight_col` is the column of the training batches that weights their rows, or None.

    Where the data has an item table, the feature map carries it: `item_table`, a dict from each feature
    of source "item" to a tensor whose row number is the item id (row 0: zeros, the padding), and the
    names of the columns with item ids, `item_key` (B,) and `item_history` (B, S). Features of items are
    not in the batches; models look them up.

    Raises:
        RequestError: group_id, use_features or feature_specs name what the data does not have.
    """
    from fuxictr.features import FeatureMap

    try:
        content = json.loads(path.read_text())
        known = [name for feature in content["features"] for name in feature]
        dataset_id = content["dataset_id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"'{path}' cannot be used as a feature map ({type(error).__name__}: {error}): put back the file, "
            "or build the data again"
        ) from None
    named = [("group_id", name) for name in [spec.group_id] if name and name not in known]
    named += [("use_features", name) for name in choice.use_features or []]
    for entry in choice.feature_specs or []:
        names = entry.get("name", [])
        named += [("feature_specs", name) for name in ([names] if isinstance(names, str) else names)]
    problems = [
        f"{key}: '{name}' is not a feature of {spec.dataset_id}.{nearest(name, known)}"
        for key, name in named
        if name not in known
    ]
    if problems:
        raise RequestError(problems)
    feature_map = FeatureMap(dataset_id, str(path.parent))
    feature_map.load(
        str(path),
        {
            "group_id": spec.group_id,
            "embedding_dim": choice.embedding_dim,
            "use_features": choice.use_features,
            "feature_specs": choice.feature_specs,
        },
    )
    feature_map.weight_col = spec.weight_col
    feature_map.num_fields = feature_map.get_num_fields()
    for name, feature in feature_map.features.items():
        try:  # FuxiCTR evaluates this text, and the file may come from anywhere
            if "feature_encoder" in feature:
                feature["feature_encoder"] = feature_encoder(feature["feature_encoder"])
        except ValueError as error:
            raise RequestError(f"{path}: {name}: feature_encoder: {error}") from error
    if (path.parent / ITEM_TABLE).is_file():
        _add_items(feature_map, path.parent / ITEM_TABLE)
    return feature_map


def _add_items(feature_map: Any, file: Path) -> None:
    """Give the feature map the item table of the features in use."""
    names = [name for name, feature in feature_map.features.items() if feature.get("source") == "item"]
    unused = [name for name in (ITEM_KEY, ITEM_HISTORY) if name not in feature_map.features]
    if unused:
        problems = [
            f"use_features: '{name}' is looked up in the item table: name {' and '.join(unused)}, too"
            for name in names
            if name != ITEM_KEY
        ]
        if problems:
            raise RequestError(problems)
        return
    import torch

    arrays = read_arrays(file)
    absent = [name for name in names if name not in arrays]
    if absent:
        raise RequestError(
            f"feature_specs: '{name}' cannot get source item: the item table holds {', '.join(arrays)}; "
            "set the source in feature_cols"
            for name in absent
        )
    feature_map.item_table = {name: torch.tensor(arrays[name]) for name in names}
    feature_map.item_key, feature_map.item_history = ITEM_KEY, ITEM_HISTORY
