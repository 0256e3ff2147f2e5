"""The first pass over the raw data: checks every cell, and counts what vocabularies and scalers need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import polars as pl

from fuxictr_qnn.data.building.preprocessing import Preprocessing
from fuxictr_qnn.data.building.rows import Coded, Rows, becomes_ids
from fuxictr_qnn.data.building.threads import ahead, in_threads
from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.data.raw.splits import Source
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Counts, split_tokens
from fuxictr_qnn.errors import RequestError, shown

WEIGHT = "__weight__"  # the raw column of weights among the preprocessed ones


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
            all splits for meta columns, whose ids name groups everywhere. None of hash buckets.
        moments: of numeric columns with a normalizer, training split.
        longest: most tokens in a cell of each sequence column, training split.
        rows: per split.
        label_sums: per split and label: the sum, for the positive rate.
        weight_sum: of the training split's weight_col.
        not_binary: a sentence for each label with a value other than 0 and 1.
    """

    counts: dict[str, Counts] = field(default_factory=dict)
    moments: dict[str, Moments] = field(default_factory=dict)
    longest: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    label_sums: dict[str, dict[str, float]] = field(default_factory=dict)
    weight_sum: float = 0.0
    not_binary: dict[str, str] = field(default_factory=dict)


def survey(
    spec: DatasetSpec,
    sources: list[Source],
    preprocessing: Preprocessing,
    keep: Callable[[Source, Rows], None],
) -> Survey:
    """Read every split once, and hand each block of preprocessed rows to `keep`.

    Raises:
        RequestError: every unreadable cell, missing label and split without rows that was found.
    """
    found = Survey()
    for split in spec.split_names:
        found.rows[split] = 0
        found.label_sums[split] = {label.name: 0.0 for label in spec.label_col}
    problems: list[str] = []
    for source in sources:
        try:
            _survey_source(spec, source, preprocessing, found, partial(keep, source))
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    return found


def _survey_source(
    spec: DatasetSpec,
    source: Source,
    preprocessing: Preprocessing,
    found: Survey,
    keep: Callable[[Rows], None],
) -> None:
    weight = source.weight_of(spec)
    for block, parts in ahead(source.blocks([*preprocessing.inputs, *weight])):
        frame = preprocess(preprocessing, block)
        if source.split == "train":
            _check_tokens(spec, frame, preprocessing.outputs, block)
        if spec.feature_processor and source.split == "train" and not found.rows["train"]:
            preprocessing.check_rowwise(block.frame[:10_000])
        check_numbers(spec, frame, block)
        check_vectors(spec, frame, block)
        _note_labels(spec, frame, block, found)
        if weight:
            _check_weights(weight[0], block)
            frame = frame.with_columns(block.frame[weight[0]].cast(pl.Float64).alias(WEIGHT))
        kept = Rows.of(frame, spec.active_columns)
        keep(kept)
        for split, mask in parts.items():
            rows = frame if mask is None else frame.filter(pl.Series(mask))
            found.rows[split] += rows.height
            for name in found.label_sums[split]:
                found.label_sums[split][name] += float(rows[name].cast(pl.Float64).sum())
            if weight and split == "train":
                found.weight_sum += float(rows[WEIGHT].sum())
            counted = [column for column in spec.active_columns if split == "train" or column.type == "meta"]
            for column in counted:
                _note_moments(column, rows, found)
            in_threads(partial(_count, found, kept.coded, mask), counted)
    if not found.rows[source.split]:
        raise RequestError(f"{source.split}_data: '{source.files.files[0]}' has no rows")
    if weight and not found.weight_sum:
        raise RequestError(f"weight_col '{weight[0]}': all weights of the training rows are 0")


def preprocess(preprocessing: Preprocessing, block: Block) -> pl.DataFrame:
    """The columns to encode of a block; a failing function is the request's fault."""
    raw = preprocessing.raw.items()
    cells = block.frame.with_columns(
        _as_typed(block.frame[name], dtype) for name, dtype in raw if name in block.frame.columns
    )
    try:
        frame = preprocessing.apply(cells)
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n")[0]
        raise RequestError(f"{block.place(0)} or later: preprocess failed: {reason}") from error
    changed = [
        f"'{block.file}': column '{name}' holds {frame.schema[name]}, but {dtype} in train_data"
        for name, dtype in preprocessing.outputs.items()
        if (frame.schema[name] == pl.String) != (dtype == pl.String)
    ]
    if changed:
        raise RequestError(changed)
    return frame.with_columns(_as_typed(frame[name], dtype) for name, dtype in preprocessing.outputs.items())


def _as_typed(values: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Numbers in the type that training has, unless some would change: pandas makes 7 a 7.0 beside a gap."""
    if isinstance(values.dtype, pl.List) and isinstance(wanted, pl.List):  # of which tokens are the text
        types = values.dtype.inner, wanted.inner
        changes = types[0].is_integer() != types[1].is_integer()
    else:
        types, changes = (values.dtype, wanted), values.dtype != wanted
    if not changes or not all(dtype.is_numeric() for dtype in types):
        return values
    known = values.fill_nan(None) if values.dtype.is_float() else values
    made = known.cast(wanted, strict=False)
    return made if made.cast(values.dtype, strict=False).eq_missing(known).all() else values


def _check_tokens(spec: DatasetSpec, frame: pl.DataFrame, types: pl.Schema, block: Block) -> None:
    """The values of training that become tokens are of one type, that of its first file."""
    other = [
        f"'{block.file}': column '{column.name}' holds {frame.schema[column.name]} with values that "
        f"{types[column.name]}, its type in the first file, does not have: write it with one type everywhere"
        for column in spec.active_columns
        if becomes_ids(column) and frame.schema[column.name] != types[column.name]
    ]
    if other:
        raise RequestError(other)


def check_numbers(spec: DatasetSpec, frame: pl.DataFrame, block: Block) -> None:
    """Labels and numeric columns must be finite in every row; names the first row of each that is not.

    Numbers that become ids may be missing, but not infinite; meta columns that get none are whole numbers.
    """
    kinds = {label.name: "label" for label in spec.label_col}
    kinds |= {column.name: "column" for column in spec.active_columns if column.type == "numeric"}
    ids = [c.name for c in spec.active_columns if c.type == "categorical" and frame.schema[c.name].is_float()]
    problems = []
    for name, kind in {**kinds, **dict.fromkeys(ids, "column")}.items():
        values = frame[name].cast(pl.Float64)
        wrong = values.is_infinite().fill_null(False) if name in ids else ~values.is_finite().fill_null(False)
        if wrong.any():
            at = wrong.arg_max()
            what = "missing or not a finite number: correct the cell or remove the row"
            if values[at] in (math.inf, -math.inf):
                what = (
                    f"{values[at]} (infinite, or too large for a number): correct the cell or leave it empty"
                )
            problems.append(f"{block.place(at)}: {kind} '{name}' is {what}")
    for name in (c.name for c in spec.active_columns if c.type == "meta" and not c.remap):
        values = frame[name]
        whole = values.cast(pl.Int64, strict=False)
        wrong = ~(whole.cast(values.dtype, strict=False) == values).fill_null(False)
        if wrong.any():
            at = wrong.arg_max()
            what = f"{values[at]}, but remap: false keeps whole numbers (of 64 bits): correct the cell"
            problems.append(f"{block.place(at)}: column '{name}' is {what}, or remove remap: false")
    if problems:
        raise RequestError(problems)


def check_vectors(spec: DatasetSpec, frame: pl.DataFrame, block: Block) -> None:
    """Every list of an embedding column has as many finite numbers as the config says."""
    problems = []
    for column in spec.active_columns:
        if column.type != "embedding":
            continue
        lists = frame[column.name].cast(pl.List(pl.Float64))
        finite = lists.list.eval(pl.element().is_finite().fill_null(False)).list.all()
        wrong = ~((lists.list.len() == column.vector_width) & finite).fill_null(False)
        if wrong.any():
            at = wrong.arg_max()
            held = shown(lists[at].to_list()) if lists[at] is not None else "nothing"
            problems.append(
                f"{block.place(at)}: column '{column.name}' needs "
                f"{column.vector_width} finite numbers (pretrain_dim; text has a splitter), but holds {held}"
            )
    if problems:
        raise RequestError(problems)


def _check_weights(name: str, block: Block) -> None:
    """Weights are finite and not negative."""
    values = block.frame[name].cast(pl.Float64)
    wrong = ~(values.is_finite() & (values >= 0)).fill_null(False)
    if wrong.any():
        at = wrong.arg_max()
        what = "is missing" if values[at] is None else f"is {values[at]:g}"
        raise RequestError(
            f"{block.place(at)}: weight_col '{name}' {what}: a weight is a finite number of at least 0; "
            "correct the cell, or write 0 for a row that shall not count"
        )


def _note_labels(spec: DatasetSpec, frame: pl.DataFrame, block: Block, found: Survey) -> None:
    """Remember the first value of each label that is not 0 or 1."""
    for name in (label.name for label in spec.label_col):
        values = frame[name].cast(pl.Float64)
        strange = (values != 0) & (values != 1)
        if strange.any() and name not in found.not_binary:
            at = strange.arg_max()
            found.not_binary[name] = (
                f"{block.place(at)}: label '{name}' is {values[at]}, "
                f"but classification needs 0 or 1; use task: regression for other labels"
            )


def _count(found: Survey, coded: dict[str, Coded], mask: np.ndarray | None, column: ColumnSpec) -> None:
    """Count the values of a column that becomes ids. Each column has counts of its own, so threads may."""
    name = column.name
    if name not in coded:
        return
    values, counts = coded[name].values, coded[name].counts(mask)
    if column.type == "sequence":
        tokens, lengths = split_tokens(values, column.splitter)
        found.longest[name] = max(found.longest.get(name, 0), int(lengths[counts > 0].max(initial=0)))
        if not column.count_whole_cells:
            of_tokens = Coded.of(tokens)
            values = of_tokens.values
            counts = np.bincount(of_tokens.codes, np.repeat(counts, lengths), minlength=len(values))
    if column.category_processor != "hash_bucket":
        found.counts.setdefault(name, Counts()).add(values, counts)


def _note_moments(column: ColumnSpec, rows: pl.DataFrame, found: Survey) -> None:
    if column.type == "numeric" and column.normalizer:
        found.moments.setdefault(column.name, Moments()).add(rows[column.name].cast(pl.Float64).to_numpy())
