"""Raw rows as ids and numbers: what the build of the run's data would make of them, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import ValidationError

from fuxictr_qnn.data.building.fitting import Fitted
from fuxictr_qnn.data.building.preprocessing import DEFAULT_FILL, Preprocessing
from fuxictr_qnn.data.building.rows import Coded, becomes_ids
from fuxictr_qnn.data.building.survey import check_numbers, check_vectors
from fuxictr_qnn.data.building.threads import in_threads
from fuxictr_qnn.data.checks import check_types
from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary, read_vocabularies
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.serving.kinds import as_trained, kind_of, wanted_types

_WORTH_THREADS = 10_000  # rows


@dataclass(frozen=True)
class Encoded:
    """Rows as a model reads them.

    Attributes:
        columns: feature -> array (rows,), of sequences (rows, max_len), of embeddings (rows, pretrain_dim).
        unknown: feature -> how many of its values (of a sequence: tokens) are not in its vocabulary. Missing
            values do not count.
    """

    rows: int
    columns: dict[str, np.ndarray]
    unknown: dict[str, int] = field(default_factory=dict)


class RowEncoder:
    """Encodes raw rows by the vocabularies, scalers and preprocessing of one build.

    Args:
        features: a run's `features` folder, or the folder of a build.
        names: the features that are wanted (default: all); meta columns, which no model reads, never are.

    Raises:
        RequestError: files of it that are missing, of another version, or contradict each other.
    """

    def __init__(self, features: Path, names: Iterable[str] | None = None):
        state = _read_state(features)
        self.spec = _serving_spec(features, state, names)
        self._types: dict[str, str] = state["types"]
        self._wanted = wanted_types(self.spec, self._types)
        vocabularies = _vocabularies(features, self.spec, self._types)
        self._fitted = Fitted.of_state(self.spec.active_columns, vocabularies, state)
        self._encoders = self._fitted.encoders()
        self._plans: dict[tuple, Preprocessing] = {}

    @property
    def names(self) -> list[str]:
        """The features that rows are encoded to."""
        return [column.name for column in self.spec.active_columns]

    @property
    def reading(self) -> DatasetSpec:
        """How to read a file: the config with the types that the run's own data had."""
        words = {"text": "str", "whole numbers": "int", "numbers": "float"}
        columns = []
        for column in self.spec.feature_cols:
            word = words.get(kind_of(self._wanted[column.name])) if column.name in self._wanted else None
            columns.append(column.model_copy(update={"dtype": word or column.dtype}))
        return self.spec.model_copy(update={"feature_cols": columns})

    def inputs(self, schema: pl.Schema, place: str) -> list[str]:
        """The raw columns that the features are made from.

        Args:
            schema: of the table that has to have them.
            place: what messages call it.

        Raises:
            RequestError: every column that is missing or holds something else than in training.
        """
        trained = as_trained(pl.DataFrame(schema=schema), self.spec.feature_cols, self._wanted, place)
        return self._plan(trained.schema, place).inputs

    def encode(self, block: Block) -> Encoded:
        """Ids and numbers of a block of raw rows; columns that no feature needs are ignored.

        Raises:
            RequestError: every column that is missing, of a wrong type, infinite, or null where the build
                would refuse it.
        """
        place = f"'{block.file}'"
        frame = as_trained(block.frame, self.spec.feature_cols, self._wanted, place)
        try:
            frame = self._plan(frame.schema, place).apply(frame)
        except pl.exceptions.PolarsError as error:
            reason = str(error).strip().split("\n")[0]
            raise RequestError(f"{block.place(0)} or later: preprocess failed: {reason}") from error
        check_numbers(self.spec, frame, block)
        check_vectors(self.spec, frame, block)
        if not frame.height:
            return Encoded(0, {}, {})
        columns = self.spec.active_columns
        encode = partial(self._encode, frame)
        done = in_threads(encode, columns) if frame.height >= _WORTH_THREADS else map(encode, columns)
        arrays, unknown = {}, {}
        for column, (array, count) in zip(columns, done, strict=True):
            arrays[column.name] = array
            if count is not None:
                unknown[column.name] = count
        return Encoded(frame.height, arrays, unknown)

    def _plan(self, schema: pl.Schema, place: str) -> Preprocessing:
        """The preprocessing of tables with these columns; made once, by any thread."""
        key = tuple(schema.items())
        if key not in self._plans:
            plan = Preprocessing(self.spec, schema, place, lenient=True)
            check_types(self.spec.model_copy(update={"source": place}), plan.outputs, schema)
            self._refuse_others(plan.outputs, place)
            self._plans[key] = plan
        return self._plans[key]

    def _refuse_others(self, outputs: pl.Schema, place: str) -> None:
        """Text never matches numbers."""
        problems = [
            f"{place}: column '{name}' holds {dtype} after preprocessing, but {self._types[name]} in training"
            for name, dtype in outputs.items()
            if (dtype == pl.String) != (self._types[name] == "String")
        ]
        if problems:
            raise RequestError(problems)

    def _encode(self, frame: pl.DataFrame, column: ColumnSpec) -> tuple[np.ndarray, int | None]:
        """A column's array and how many of its values are unknown; None where none can be."""
        values, encoder = frame[column.name], self._encoders[column.name]
        if not becomes_ids(column):
            return _array(encoder(values)).copy(), None  # arrow's are read-only
        coded = Coded.of(values)
        ids = _array(encoder(coded.values))
        vocabulary = self._fitted.ids[column.name]
        unknown = None
        if isinstance(vocabulary, Vocabulary):
            unknown = _unknown(ids, coded, vocabulary.oov, column)
        return ids.take(coded.codes, axis=0), unknown


def _array(values: pa.Array) -> np.ndarray:
    """(rows,), or (rows, width) of lists of one length."""
    if pa.types.is_list(values.type):
        return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
    return values.to_numpy(zero_copy_only=False)


def _unknown(ids: np.ndarray, coded: Coded, oov: int, column: ColumnSpec) -> int:
    """How many values of the rows have the id of unknown ones."""
    strange = ids == oov
    if not strange.any():
        return 0
    per_value = strange.sum(axis=1) if strange.ndim == 2 else strange & ~_missing(coded.values, column)
    return int(coded.counts(None) @ per_value)


def _missing(values: pl.Series, column: ColumnSpec) -> np.ndarray:
    """Which distinct values stand for no value at all."""
    fill = DEFAULT_FILL[column.dtype] if column.fill_na is None else column.fill_na
    missing = values.is_null()
    if isinstance(fill, str) == (values.dtype == pl.String):
        missing |= (values == fill).fill_null(False)
    return missing.to_numpy()


def _read_state(features: Path) -> dict[str, Any]:
    file = features / "preprocessing.json"
    try:
        state = json.loads(file.read_text())
        if {"dataset", "types", "normalizers", "max_len"} - state.keys():
            raise ValueError("it lacks a part")
        return state
    except (OSError, ValueError, AttributeError) as error:
        raise RequestError(f"'{file}' cannot be used ({error}): put back the file of this run") from None


def _serving_spec(features: Path, state: dict[str, Any], names: Iterable[str] | None) -> DatasetSpec:
    """The dataset config with the wanted features active only, and without labels."""
    try:
        spec = DatasetSpec.model_validate(state["dataset"])
    except ValidationError as error:
        keys = sorted({".".join(map(str, problem["loc"])) for problem in error.errors()})
        raise RequestError(
            f"'{features / 'preprocessing.json'}': {', '.join(keys)} missing, unknown or of another kind: "
            "another version of this package wrote it; use that one, or train again"
        ) from None
    wanted = {column.name for column in spec.active_columns if column.type != "meta"}
    wanted &= wanted if names is None else set(names)
    columns = [column.model_copy(update={"active": column.name in wanted}) for column in spec.feature_cols]
    return spec.model_copy(update={"feature_cols": columns, "label_col": [], "weight_col": None})


def _vocabularies(features: Path, spec: DatasetSpec, types: dict[str, str]) -> dict[str, Vocabulary]:
    """Those of the active columns, which must be as large as the feature map says."""
    kinds = {
        column.name: types[column.share_embedding or column.name]
        for column in spec.active_columns
        if column.has_vocabulary and not column.category_processor
    }
    try:
        found = read_vocabularies(features / "feature_vocab.json", kinds)
        content = json.loads((features / "feature_map.json").read_text())
        described = {name: feature for entry in content["features"] for name, feature in entry.items()}
        sizes = {name: described[name]["vocab_size"] for name in kinds}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"'{features}': feature_vocab.json, feature_map.json and preprocessing.json do not belong "
            f"together ({type(error).__name__}: {error}): put back the files of this run"
        ) from None
    problems = [
        f"'{features}': the vocabulary of '{name}' in feature_vocab.json has {found[name].size} ids, but "
        f"{size} in feature_map.json: put back the files of this run"
        for name, size in sizes.items()
        if found[name].size != size
    ]
    if problems:
        raise RequestError(problems)
    return found
