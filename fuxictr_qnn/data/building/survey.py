"""The first pass over the raw data: checks every cell, and counts what vocabularies and scalers need."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from fuxictr_qnn.data.building.preprocessing import Preprocessing
from fuxictr_qnn.data.raw.reading import Block, RawFiles
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Counts, split_tokens
from fuxictr_qnn.errors import RequestError


@dataclass
class Moments:
    """Count, mean, spread and range of a numeric column, gathered block by block (Chan et al., 1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean
    minimum: float = math.inf
    maximum: float = -math.inf

    def add(self, values: np.ndarray) -> None:
        count, mean = len(values), float(values.mean())
        total, distance = self.count + count, mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + distance**2 * self.count * count / total
        self.mean += distance * count / total
        self.count = total
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))

    @property
    def std(self) -> float:
        """The population's standard deviation."""
        return math.sqrt(self.squares / self.count)


@dataclass
class Survey:
    """What the first pass found.

    Attributes:
        counts: values of categorical, sequence (tokens) and meta columns; of the training split, but of
            all splits for meta columns, whose ids name groups everywhere.
        moments: of numeric columns with a normalizer, training split.
        longest: most tokens in a cell of each sequence column, training split.
        rows: per split.
        label_sums: per split and label: the sum, for the positive rate.
        not_binary: a sentence for each label with a value other than 0 and 1.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    label_sums: dict[str, dict[str, float]] = field(default_factory=dict)
    not_binary: dict[str, str] = field(default_factory=dict)


def survey(spec: DatasetSpec, splits: dict[str, RawFiles], preprocessing: Preprocessing) -> Survey:
    """Read every split once.

    Raises:
        RequestError: every unreadable cell, missing label and split without rows that was found.
    """
    found = Survey()
    problems: list[str] = []
    for split, files in splits.items():
        try:
            _survey_split(spec, split, files, preprocessing, found)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    return found


def _survey_split(
    spec: DatasetSpec, split: str, files: RawFiles, preprocessing: Preprocessing, found: Survey
) -> None:
    found.rows[split] = 0
    found.label_sums[split] = {label.name: 0.0 for label in spec.label_col}
    for block in files.blocks(preprocessing.inputs):
        frame = preprocess(preprocessing, block)
        if spec.feature_processor and split == "train" and not found.rows[split]:
            preprocessing.check_rowwise(block.frame[:10_000])
        _check_numbers(spec, frame, block)
        found.rows[split] += frame.height
        for label in spec.label_col:
            _note_label(label.name, frame[label.name].cast(pl.Float64), block, split, found)
        for column in spec.active_columns:
            if split == "train" or column.type == "meta":
                _count(column, frame[column.name], found)
    if not found.rows[split]:
        raise RequestError(f"{split}_data: '{files.files[0]}' has no rows")


def preprocess(preprocessing: Preprocessing, block: Block) -> pl.DataFrame:
    """The columns to encode of a block; a failing function is the request's fault."""
    try:
        frame = preprocessing.apply(block.frame)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n")[0]
        raise RequestError(
            f"'{block.file}', after row {block.first_row}: preprocess failed: {reason}"
        ) from error
    changed = [
        f"'{block.file}': column '{name}' holds {frame.schema[name]}, but {dtype} in train_data"
        for name, dtype in preprocessing.outputs.items()
        if (frame.schema[name] == pl.String) != (dtype == pl.String)
    ]
    if changed:
        raise RequestError(changed)
    return frame


def _check_numbers(spec: DatasetSpec, frame: pl.DataFrame, block: Block) -> None:
    """Labels and numeric columns must be finite in every row; names the first row of each that is not."""
    numeric = [column.name for column in spec.active_columns if column.type == "numeric"]
    kinds = {label.name: "label" for label in spec.label_col} | dict.fromkeys(numeric, "column")
    problems = []
    for name, kind in kinds.items():
        wrong = ~frame[name].cast(pl.Float64).is_finite().fill_null(False)
        if wrong.any():
            row = block.first_row + wrong.arg_max() + 1
            problems.append(f"'{block.file}', row {row}: {kind} '{name}' is missing or not a finite number")
    if problems:
        raise RequestError(problems)


def _note_label(name: str, values: pl.Series, block: Block, split: str, found: Survey) -> None:
    """Add to the positive rate, and remember the first value that is not 0 or 1."""
    found.label_sums[split][name] += float(values.sum())
    strange = (values != 0) & (values != 1)
    if strange.any() and name not in found.not_binary:
        at = strange.arg_max()
        found.not_binary[name] = (
            f"'{block.file}', row {block.first_row + at + 1}: label '{name}' is {values[at]}, "
            f"but classification needs 0 or 1; use task: regression for other labels"
        )


def _count(column: ColumnSpec, values: pl.Series, found: Survey) -> None:
    name = column.name
    if column.type == "sequence":
        tokens, lengths = split_tokens(values, column.splitter)
        found.longest[name] = max(found.longest.get(name, 0), int(lengths.max()))
        found.counts.setdefault(name, Counts()).add(tokens)
    elif column.type == "categorical" or (column.type == "meta" and column.remap):
        found.counts.setdefault(name, Counts()).add(values)
    elif column.type == "numeric" and column.normalizer:
        found.moments.setdefault(name, Moments()).add(values.cast(pl.Float64).to_numpy())
