"""A run's `features` folder: what turns raw values into ids and numbers, checked part against part."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fuxictr_qnn.data.building.buckets import restored
from fuxictr_qnn.data.raw.dtypes import dtype_of
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary, read_vocabularies
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.agreement import wrong_keys

_PARTS = {"dataset", "raw", "types", "normalizers", "max_len"}


@dataclass(frozen=True)
class FeatureFiles:
    """What preprocessing.json and feature_vocab.json say of the features that models read.

    Attributes:
        spec: the dataset config of the build.
        raw: raw column -> the polars type that it had.
        types: feature -> name of the type of its preprocessed values.
        state: what `Fitted.state` kept: normalizers, max_len, buckets.
        vocabularies: of features that are looked up.
    """

    spec: DatasetSpec
    raw: dict[str, Any]
    types: dict[str, str]
    state: dict[str, Any]
    vocabularies: dict[str, Vocabulary]


def read_features(folder: Path, as_text: bool = False) -> FeatureFiles:
    """The files of a build or of a run's `features` folder.

    Args:
        as_text: read all tokens as text, as they stand in the file, not as what they were.

    Raises:
        RequestError: files that are missing, of another version, or contradict each other.
    """
    state = _read_json(folder / "preprocessing.json")
    if lacking := sorted(_PARTS - state.keys()):
        raise RequestError(
            f"'{folder / 'preprocessing.json'}' lacks a part ({', '.join(lacking)}): it is damaged, or "
            "another version of this package wrote it; put back the file of this run, or train again"
        )
    spec = _spec(folder, state)
    columns = [column for column in spec.active_columns if column.type != "meta"]
    try:
        raw = {name: dtype_of(text) for name, text in state["raw"].items()}
        described = _described(folder)
        kinds = {c.name: state["types"][c.share_embedding or c.name] for c in columns if _looked_up(c)}
        found = read_vocabularies(
            folder / "feature_vocab.json", dict.fromkeys(kinds, "String") if as_text else kinds
        )
        problems = [
            f"'{folder}': '{column.name}': {problem}: put back the files of this run"
            for column in columns
            for problem in _problems(column, described[column.name], state, found)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"'{folder}': feature_vocab.json, feature_map.json and preprocessing.json do not belong "
            f"together ({type(error).__name__}: {error}): put back the files of this run"
        ) from None
    if problems:
        raise RequestError(problems)
    return FeatureFiles(spec, raw, state["types"], state, found)


def _looked_up(column: ColumnSpec) -> bool:
    return column.has_vocabulary and not column.category_processor


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
        if not isinstance(content, dict):
            raise ValueError("it is no mapping")
        return content
    except (OSError, ValueError) as error:
        raise RequestError(f"'{file}' cannot be used ({error}): put back the file of this run") from None


def _spec(folder: Path, state: dict[str, Any]) -> DatasetSpec:
    try:
        return DatasetSpec.model_validate(state["dataset"])
    except ValidationError as error:
        raise RequestError(
            f"'{folder / 'preprocessing.json'}': {wrong_keys(error)} missing, unknown or of another kind: "
            "another version of this package wrote it; use that one, or train again"
        ) from None


def _described(folder: Path) -> dict[str, dict[str, Any]]:
    """Feature -> what the feature map says of it."""
    features = _read_json(folder / "feature_map.json")["features"]
    return {name: feature for entry in features for name, feature in entry.items()}


def _problems(
    column: ColumnSpec, described: dict[str, Any], state: dict[str, Any], found: dict[str, Vocabulary]
) -> Iterator[str]:
    """How the files differ about a feature."""
    name = column.name
    if name not in state["types"]:
        yield "preprocessing.json has no type for it"
    ids = found.get(name)
    if column.category_processor:
        ids = restored(state["buckets"][name])
    if ids is not None and ids.size != described["vocab_size"]:
        where = "feature_vocab.json" if name in found else "preprocessing.json"
        yield f"it has {ids.size} ids by {where}, but {described['vocab_size']} by feature_map.json"
    if column.type == "sequence" and state["max_len"][name] != described["max_len"]:
        yield (
            f"max_len is {state['max_len'][name]} by preprocessing.json, but {described['max_len']} by "
            "feature_map.json"
        )
    if column.type == "numeric" and column.normalizer:
        shift, scale = (float(state["normalizers"][name][key]) for key in ("shift", "scale"))
        if not (math.isfinite(shift) and math.isfinite(scale) and scale):
            yield f"its normalizer in preprocessing.json has the shift {shift} and the scale {scale}"
