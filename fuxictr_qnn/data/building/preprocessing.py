"""`fill_na` and `preprocess` of a dataset config as polars expressions, in FuxiCTR's order.

A preprocess function takes the name of a column (or the text in its parentheses) and returns a
polars expression. It is looked up in the class named by `feature_processor`, then in FUNCTIONS.
Expressions are applied to one block of rows after another, so they may look only at their own row.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from typing import Any

import polars as pl

from fuxictr_qnn.data.building.functions import FUNCTIONS
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest

DEFAULT_FILL = {"str": "", "int": 0, "float": 0.0}


@dataclass(frozen=True)
class Step:
    """One expression that makes a column or replaces it."""

    column: str
    expression: pl.Expr


class Preprocessing:
    """The steps from raw columns to the columns that are encoded.

    Args:
        spec: the dataset config.
        raw: schema of the raw file (of the training split).
        place: what messages call that file.
        lenient: whether problems of inactive columns matter only where an active one needs them.

    Attributes:
        inputs: the raw columns that must be read, in the file's order.
        raw: their types, and those of raw columns that have a feature's name: what the steps hang on.
        outputs: schema of what `apply` returns: active features in the config's order, then labels.

    Raises:
        RequestError: missing columns, unknown functions, expressions that do not fit the columns.
    """

    def __init__(self, spec: DatasetSpec, raw: pl.Schema, place: str = "train_data", lenient: bool = False):
        self._spec = spec
        self._place = place
        self._processor = load_feature_processor(spec.feature_processor)
        self._steps: list[Step] = []
        self._schema = raw  # as it stands after the last step
        self._problems = [
            f"{place} has no label column '{label.name}'.{nearest(label.name, raw)}"
            for label in spec.label_col
            if label.name not in raw
        ]
        for column in reversed(spec.feature_cols):  # FuxiCTR's order: a function sees later columns done
            found = len(self._problems)
            self._plan(column, raw)
            if lenient and not column.active:
                del self._problems[found:]
        if self._problems:
            raise RequestError(self._problems)
        names = [column.name for column in (*spec.active_columns, *spec.label_col)]
        self.outputs = pl.Schema({name: self._schema[name] for name in names})
        self.inputs = self._needed_columns(raw)
        known = {*self.inputs, *(column.name for column in spec.feature_cols)}
        self.raw = pl.Schema({name: dtype for name, dtype in raw.items() if name in known})
        self._stages = _stages(self._steps)

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns to encode, of a block of raw rows."""
        lazy = frame.lazy()
        for stage in self._stages:
            lazy = lazy.with_columns(step.expression.alias(step.column) for step in stage)
        return lazy.select(self.outputs.names()).collect()

    def check_rowwise(self, frame: pl.DataFrame) -> None:
        """Refuse functions whose result depends on the block they see, by trying halves of one."""
        half = frame.height // 2
        whole = self.apply(frame)
        parts = pl.concat([self.apply(frame[:half]), self.apply(frame[half:])])
        changed = [name for name in whole.columns if not whole[name].equals(parts[name], null_equal=True)]
        if changed:
            raise RequestError(
                f"preprocess of column '{name}' looks beyond its own row; compute it before the build"
                for name in changed
            )

    def _plan(self, column: ColumnSpec, raw: pl.Schema) -> None:
        """Fill first and then call the function, as FuxiCTR does; a column without raw data fills after."""
        name = column.name
        exists = name in raw
        if not exists and not column.preprocess:
            if column.active:
                self._problems.append(f"{self._place} has no column '{name}'.{nearest(name, raw)}")
            return
        if exists:
            self._fill(column)
        if column.preprocess:
            made = self._call(column)
            if made is None or not self._add(column, made):
                return
        if not exists:
            self._fill(column)
        if column.type == "sequence" and is_list(self._schema[name]):
            items = pl.col(name).cast(pl.List(pl.String))
            self._add(column, items.list.join("^").fill_null(""))
        if column.type == "embedding" and self._schema[name] == pl.String:
            numbers = pl.col(name).str.split(column.splitter)
            self._add(column, numbers.cast(pl.List(pl.Float32), strict=False))  # the survey finds wrong ones

    def _fill(self, column: ColumnSpec) -> None:
        """Replace missing cells; NaN counts as missing, a missing list stays."""
        dtype = self._schema[column.name]
        if is_list(dtype):
            return
        cell = pl.col(column.name)
        cell = cell.fill_nan(None) if dtype.is_float() else cell
        if column.category_processor and column.type == "categorical" and column.fill_na is None:
            self._add(column, cell)  # missing values have a bucket of their own
            return
        value = DEFAULT_FILL[column.dtype] if column.fill_na is None else column.fill_na
        self._add(column, cell.fill_null(value))

    def _add(self, column: ColumnSpec, expression: pl.Expr) -> bool:
        """Append a step if it fits the columns as they stand."""
        frame = pl.LazyFrame(schema=self._schema).with_columns(expression.alias(column.name))
        try:
            self._schema = frame.collect_schema()
        except pl.exceptions.PolarsError as error:
            reason = str(error).split("\n")[0]
            self._problems.append(f"column '{column.name}': fill_na or preprocess does not fit: {reason}")
            return False
        self._steps.append(Step(column.name, expression))
        return True

    def _call(self, column: ColumnSpec) -> pl.Expr | None:
        """The expression of a `preprocess` key: `function` or `function(text)`."""
        name, *text = re.split(r"[()]", column.preprocess or "")
        function = getattr(self._processor, name, None) or FUNCTIONS.get(name)
        if function is None:
            own = self._spec.feature_processor
            known = [*FUNCTIONS, *(dir(self._processor) if own else [])]
            where = f"in {own}" if own else "built in, and no feature_processor: package.module:Class is set"
            self._problems.append(
                f"column '{column.name}': preprocess '{name}' is not {where}.{nearest(name, known)}"
            )
            return None
        try:
            made = function(text[0] if text else column.name)
        except Exception as error:  # a user's function: say which, whatever it raises
            self._problems.append(f"column '{column.name}': preprocess '{name}' failed: {error!r}")
            return None
        if not isinstance(made, pl.Expr):
            self._problems.append(
                f"column '{column.name}': preprocess '{name}' returns {type(made).__name__}, not an "
                "expression of polars"
            )
            return None
        return made

    def _needed_columns(self, raw: pl.Schema) -> list[str]:
        """The raw columns that the outputs come from, followed back through the steps."""
        needed, used = set(self.outputs), []
        for step in reversed(self._steps):
            if step.column in needed:
                needed = (needed - {step.column}) | set(step.expression.meta.root_names())
                used.append(step)
        self._steps = used[::-1]
        return [name for name in raw if name in needed]


def _stages(steps: list[Step]) -> list[list[Step]]:
    """The steps in as few rounds as their order allows: those of a round may run at the same time.

    A step comes after every step that made what it reads, or that read or made the column it makes.
    """
    stages: list[list[Step]] = []
    made_in: dict[str, int] = {}
    read_in: dict[str, int] = {}
    for step in steps:
        reads = set(step.expression.meta.root_names())
        before = [made_in.get(name, -1) + 1 for name in reads | {step.column}]
        at = max([*before, read_in.get(step.column, 0)])
        stages += [[] for _ in range(at + 1 - len(stages))]
        stages[at].append(step)
        made_in[step.column] = at
        for name in reads - {step.column}:
            read_in[name] = max(read_in.get(name, 0), at)
    return stages


def is_list(dtype: Any) -> bool:
    """Whether cells of a polars type are lists."""
    return isinstance(dtype, (pl.List, pl.Array))


def load_feature_processor(path: str | None) -> Any:
    """An object of the class `package.module:Class`, whose methods are preprocess functions.

    FuxiCTR's own processors are made without their constructor, which prepares files.

    Raises:
        RequestError: no such module or class, or its constructor wants arguments.
    """
    if path is None:
        return None
    module_name, _, class_name = path.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
        base = getattr(sys.modules.get("fuxictr.preprocess"), "FeatureProcessor", ())
        return cls.__new__(cls) if issubclass(cls, base) else cls()
    except Exception as error:  # whatever the import of a user's module raises
        remedy = "write package.module:Class, importable from here (PYTHONPATH), made without arguments"
        raise RequestError(f"feature_processor '{path}' cannot be loaded ({error!r}): {remedy}") from error
