"""What a model's formula asks of the features, checked before its layers are built."""

from __future__ import annotations

from fuxictr.features import FeatureMap


def require_linear_terms(feature_map: FeatureMap) -> None:
    """Every feature needs a scalar weight, which FuxiCTR's LogisticRegression gives to ids and numbers.

    Raises:
        ValueError: a feature of type embedding.
    """
    names = [name for name, spec in feature_map.features.items() if spec["type"] == "embedding"]
    if names:
        raise ValueError(
            f"the model's linear term has no weights for a feature of type embedding: {', '.join(names)}; "
            "leave such features out (use_features) or take a model without a linear term"
        )


def require_equal_dims(feature_map: FeatureMap) -> None:
    """Products between the embeddings of fields need one width for all of them.

    Raises:
        ValueError: features with different embedding dims.
    """
    widths: dict[int, str] = {}  # width -> the first feature that has it
    for name, spec in feature_map.features.items():
        if spec["type"] != "meta":
            width = spec.get("emb_output_dim", spec.get("embedding_dim", feature_map.default_emb_dim))
            widths.setdefault(width, name)
    if len(widths) > 1:
        shown = ", ".join(f"{width} ({name})" for width, name in widths.items())
        raise ValueError(f"the model multiplies embeddings of fields, so all need one embedding_dim: {shown}")


def require_no_item_table(feature_map: FeatureMap, model: str) -> None:
    """The item's id is in the batches, its other features are not.

    Raises:
        ValueError: features that stand in an item table.
    """
    key = getattr(feature_map, "item_key", None)
    names = [name for name in getattr(feature_map, "item_table", ()) if name != key]
    if names:
        raise ValueError(
            f"{model} looks nothing up in the item table, where {', '.join(names)} stand: leave them out "
            "(use_features), or take a model of item histories, such as QIN or DIN"
        )
