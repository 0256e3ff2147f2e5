"""What a client has to know about an exported model: the JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fuxictr.features import FeatureMap

from fuxictr_qnn.data.building.preprocessing import DEFAULT_FILL
from fuxictr_qnn.data.loaders.storage import Field, widths
from fuxictr_qnn.data.spec import ColumnSpec
from fuxictr_qnn.data.vocabulary import PAD, Vocabulary
from fuxictr_qnn.runs.saved import SavedRun
from fuxictr_qnn.serving.features import read_features
from fuxictr_qnn.serving.graph import DTYPES

FORMAT = 1
UNKNOWN = "__OOV__"  # how an example names a value that no vocabulary has


class RawValues:
    """How the run's raw values become ids and numbers; of encoded data that is unknown.

    Attributes:
        vocabularies: feature -> tokens, as text, and their ids.

    Raises:
        RequestError: files of the run that do not belong together.
    """

    def __init__(self, run: SavedRun, fields: Sequence[Field]):
        self.columns: dict[str, ColumnSpec] = {}
        self.vocabularies: dict[str, Vocabulary] = {}
        self._state: dict[str, Any] = {}
        self._types: dict[str, str] = {}
        if not run.takes_raw_values:
            return
        wanted = {field.name for field in fields}
        files = read_features(run.features, as_text=True)
        self._state, self._types = files.state, files.types
        self.columns = {column.name: column for column in files.spec.active_columns if column.name in wanted}
        self.vocabularies = {name: each for name, each in files.vocabularies.items() if name in wanted}

    def describe(self, name: str) -> dict[str, Any]:
        """The keys of a feature that say how its raw values are encoded."""
        if name not in self.columns:
            return {}
        column, said = self.columns[name], {}
        if column.preprocess:
            said["preprocess"] = column.preprocess
        if column.type != "embedding":
            said["raw_type"] = self._types.get(name)
            said["missing"] = _missing(column) if column.fill_na is None else column.fill_na
        if column.type in ("sequence", "embedding"):
            said["splitter"] = column.splitter
        if column.type == "sequence":
            said["pad_at"] = column.padding
        if name in self._state["normalizers"]:
            scaler = self._state["normalizers"][name]
            said |= {"shift": scaler["shift"], "scale": scaler["scale"]}
        if name in self.vocabularies:
            said["unknown"] = self.vocabularies[name].oov
        return said | self._state.get("buckets", {}).get(name, {})

    def tokens(self) -> dict[str, dict[str, int]]:
        """Feature -> token -> id."""
        return {
            name: dict(zip(vocabulary.tokens.to_list(), vocabulary.ids.tolist(), strict=True))
            for name, vocabulary in self.vocabularies.items()
        }

    def rows(self, matrices: dict[str, np.ndarray], fields: Sequence[Field]) -> list[dict[str, Any]] | None:
        """Raw values that are encoded as these rows; None where a feature's cannot be told from its ids."""
        if any(field.name not in self.columns for field in fields):
            return None
        makers = {field.name: self._decoder(field) for field in fields}
        if None in makers.values():
            return None
        return [
            {
                field.name: makers[field.name](
                    matrices[field.matrix][row, field.start : field.start + field.width]
                )
                for field in fields
            }
            for row in range(len(next(iter(matrices.values()))))
        ]

    def _decoder(self, field: Field) -> Any:
        """A function from a feature's part of a row to the raw value."""
        column = self.columns[field.name]
        if field.name in self.vocabularies:
            vocabulary = self.vocabularies[field.name]
            token_of = dict(zip(vocabulary.ids.tolist(), vocabulary.tokens.to_list(), strict=True))
            if not field.is_list:
                return lambda part: token_of.get(int(part[0]), UNKNOWN)
            return lambda part: column.splitter.join(token_of.get(int(i), UNKNOWN) for i in part if i != PAD)
        if column.type == "numeric":
            scaler = self._state["normalizers"].get(field.name, {"shift": 0.0, "scale": 1.0})
            return lambda part: float(part[0]) * scaler["scale"] + scaler["shift"]
        return (lambda part: part.tolist()) if column.type == "embedding" else None


def _missing(column: ColumnSpec) -> str | float | None:
    """What takes the place of a missing value where the config does not say."""
    if column.type == "categorical" and column.category_processor:
        return None  # an id of its own, the last
    return "" if column.type == "sequence" else DEFAULT_FILL[column.dtype]  # of a list: no tokens


def describe_features(
    feature_map: FeatureMap, fields: Sequence[Field], raw: RawValues
) -> list[dict[str, Any]]:
    """An entry for each feature: where it lies in which input, and how its values are encoded."""
    entries = []
    for field in fields:
        spec = feature_map.features[field.name]
        entry = {
            "name": field.name,
            "type": "history" if field.is_history else spec["type"],
            "input": field.matrix,
            "first_column": field.start,
            "columns": field.width,
        }
        if field.matrix == "ids":
            size = field.size or len(feature_map.item_table[feature_map.item_key])
            entry |= {"ids_below": size, "padding": PAD}
        entries.append(entry | raw.describe(field.name))
    return entries


def describe_inputs(fields: Sequence[Field]) -> dict[str, Any]:
    """Input -> dtype and shape."""
    return {
        name: {"dtype": np.dtype(DTYPES[name]).name, "shape": ["rows", width]}
        for name, width in widths(list(fields)).items()
    }


def as_text(content: dict[str, Any]) -> str:
    """JSON with a line for each feature and each vocabulary, for people and diffs."""
    parts = [f"  {json.dumps(key)}: {_value(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"    {json.dumps(item)}" for item in value) + "\n  ]"
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n  }"
    return json.dumps(value)
