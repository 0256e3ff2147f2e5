"""Where the features that a model reads lie in the matrices of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fuxictr_qnn.data.loaders.storage import Field, layout


def fields_of(feature_map: Any) -> list[Field]:
    """Where each feature lies in the matrices `ids` and `numbers`, in the order of the feature map."""
    history = getattr(feature_map, "item_history", None)
    features = {
        name for name, spec in feature_map.features.items() if spec["type"] != "meta" or name == history
    }
    return [field for field in layout(feature_map) if field.name in features]


def columns_of(matrices: dict[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Feature -> its values, (B,) or (B, width), out of matrices of any library."""
    return {
        field.name: matrices[field.matrix][:, field.start : field.start + field.width]
        if field.is_list
        else matrices[field.matrix][:, field.start]
        for field in fields
    }
