"""Raw rows as ids and numbers: what the build of the run's data would make of them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from fuxictr_qnn.data.building.fitting import Fitted
from fuxictr_qnn.data.building.preprocessing import DEFAULT_FILL, Preprocessing
from fuxictr_qnn.data.building.rows import Coded, becomes_ids
from fuxictr_qnn.data.building.survey import check_numbers, check_vectors
from fuxictr_qnn.data.building.threads import in_threads
from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.serving.features import read_features
from fuxictr_qnn.serving.kinds import as_in_csv, as_trained

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
        feature_processor: the class with the build's own preprocess functions, where the caller knows it as
            code to be run; FuxiCTR's usual functions need none.

    Attributes:
        columns: the raw columns that rows must have.
        types: column -> the polars type to read it as.

    Raises:
        RequestError: files of it that are missing, of another version, or contradict each other; preprocess
            functions of a class that `feature_processor` does not name.
    """

    def __init__(
        self, features: Path, names: Iterable[str] | None = None, feature_processor: str | None = None
    ):
        files = read_features(features)
        self.spec = _serving_spec(files.spec, names)
        _check_processor(self.spec, features, feature_processor)
        # As in the build: what a step does may hang on the type of its column.
        self._plan = Preprocessing(self.spec, pl.Schema(files.raw), f"'{features}'", lenient=True)
        self.columns = self._plan.inputs
        self._raw = {name: files.raw[name] for name in self.columns}
        self.types = {name: as_in_csv(dtype) for name, dtype in self._raw.items()}
        self._specs = {column.name: column for column in self.spec.active_columns}
        vocabularies = {name: each for name, each in files.vocabularies.items() if name in self._specs}
        self._fitted = Fitted.of_state(self.spec.active_columns, vocabularies, files.state)
        self._encoders = self._fitted.encoders()

    @property
    def names(self) -> list[str]:
        """The features that rows are encoded to."""
        return list(self._specs)

    def inputs(self, schema: pl.Schema, place: str) -> list[str]:
        """The raw columns that the features are made from.

        Args:
            schema: of the table that has to have them.
            place: what messages call it.

        Raises:
            RequestError: every column that is missing or holds something else than in training.
        """
        self._as_trained(pl.DataFrame(schema=schema), place)
        return self.columns

    def encode(self, block: Block) -> Encoded:
        """Ids and numbers of a block of raw rows; columns that no feature needs are ignored.

        Raises:
            RequestError: every column that is missing, of a wrong type, infinite, or null where the build
                would refuse it.
        """
        frame = self._as_trained(block.frame, f"'{block.file}'")
        try:
            frame = self._plan.apply(frame)
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
            if column.type == "numeric" and not np.isfinite(array).all():
                at = int(np.isfinite(array).argmin())
                raise RequestError(
                    f"{block.place(at)}: column '{column.name}' is {frame[column.name][at]:g}, which is too "
                    "large for the model's 32 bits: correct the cell or leave it empty"
                )
            arrays[column.name] = array
            if count is not None:
                unknown[column.name] = count
        return Encoded(frame.height, arrays, unknown)

    def _as_trained(self, frame: pl.DataFrame, place: str) -> pl.DataFrame:
        missing = [
            f"{place} has no column '{name}'.{nearest(name, frame.columns)}"
            for name in self.columns
            if name not in frame.columns
        ]
        there = {name: dtype for name, dtype in self._raw.items() if name in frame.columns}
        try:
            trained = as_trained(frame, there, self._specs, place)
        except RequestError as error:
            raise RequestError([*missing, *error.problems]) from None
        if missing:
            raise RequestError(missing)
        return trained

    def _encode(self, frame: pl.DataFrame, column: ColumnSpec) -> tuple[np.ndarray, int | None]:
        """A column's array and how many of its values are unknown; None where none can be."""
        values, encoder = frame[column.name], self._encoders[column.name]
        if not becomes_ids(column):
            with np.errstate(over="ignore"):
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


def _serving_spec(spec: DatasetSpec, names: Iterable[str] | None) -> DatasetSpec:
    """The dataset config with the wanted features active only, and without labels."""
    wanted = {column.name for column in spec.active_columns if column.type != "meta"}
    wanted &= wanted if names is None else set(names)
    columns = [column.model_copy(update={"active": column.name in wanted}) for column in spec.feature_cols]
    return spec.model_copy(update={"feature_cols": columns, "label_col": [], "weight_col": None})


def _check_processor(spec: DatasetSpec, features: Path, known: str | None) -> None:
    """A folder may come from anywhere: what it names is imported only where the caller names it, too."""
    if spec.feature_processor not in (None, known):
        raise RequestError(
            f"'{features}': its preprocess functions are those of {spec.feature_processor}, which is code to "
            f"be run: say that you know it by --feature-processor {spec.feature_processor} (in Python by "
            "feature_processor=...)"
        )
