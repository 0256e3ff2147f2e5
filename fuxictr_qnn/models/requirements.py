"""What a model's formula asks of the features, checked before its layers are built."""

from __future__ import annotations

from collections.abc import Sequence

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


def require_equal_dims(feature_map: FeatureMap) -> int:
    """Products between the embeddings of fields need one width for all of them; returns it.

    Raises:
        ValueError: features with different embedding dims.
    """
    widths: dict[int, str] = {}  # width -> the first feature that has it
    for name, width in embedding_widths(feature_map).items():
        widths.setdefault(width, name)
    if len(widths) > 1:
        shown = ", ".join(f"{width} ({name})" for width, name in widths.items())
        raise ValueError(f"the model multiplies embeddings of fields, so all need one embedding_dim: {shown}")
    return next(iter(widths), feature_map.default_emb_dim)


def require_even_dims(feature_map: FeatureMap) -> None:
    """Halves of the embeddings are treated differently.

    Raises:
        ValueError: features with different embedding dims, or with an odd one.
    """
    width = require_equal_dims(feature_map)
    if width % 2:
        raise ValueError(f"the model halves embeddings, so embedding_dim must be even, got {width}")


def embedding_widths(feature_map: FeatureMap) -> dict[str, int]:
    """Feature -> the width of its embedding, as FuxiCTR's sum_emb_out_dim counts it."""
    return {
        name: spec.get("emb_output_dim", spec.get("embedding_dim", feature_map.default_emb_dim))
        for name, spec in feature_map.features.items()
        if spec["type"] != "meta"
    }


def require_positive(**sizes: int) -> None:
    """Counts and widths, by their config keys, must be at least 1.

    Raises:
        ValueError: names the first that is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def require_widths(**hidden_units: Sequence[int]) -> None:
    """These networks, by their config keys, cannot do without a hidden layer, nor a layer without width.

    Raises:
        ValueError: names the first that lacks one.
    """
    for name, units in hidden_units.items():
        if not units:
            raise ValueError(f"{name} needs at least one width")
        if min(units) < 1:
            raise ValueError(f"{name}: the width of a hidden layer must be at least 1, got {list(units)}")


def require_dropout(**rates: float) -> None:
    """Probabilities of dropping, by their config keys, must be in [0, 1).

    FuxiCTR's layers take a negative one for none, and torch's take 1, which leaves nothing to learn from.

    Raises:
        ValueError: names the first that is not.
    """
    for name, rate in rates.items():
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"{name} must be in [0, 1), got {rate}")


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
