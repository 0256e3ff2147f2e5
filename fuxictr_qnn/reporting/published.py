"""Published figures: published.yaml as validated data. reproduced.py sets them beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fuxictr_qnn.yaml_files import read_yaml

FILE = Path(__file__).with_name("published.yaml")

Metric = Literal[
    "AUC",
    "logloss",
    "valid_AUC",
    "valid_logloss",
    "train_loss",
    "accuracy",
    "epochs",
    "best_epoch",
    "seconds_per_epoch",
    "evaluation_seconds",
    "parameters",
    "latency_ms_per_100_rows",
    "gpu_memory_mib",
]


@dataclass(frozen=True)
class Figure:
    """What one source says of one model on one dataset.

    Attributes:
        values: metric -> value, only those that are published.
        slips: what is wrong or doubtful about it.
        data: how its data differs from what our configs build; None where it does not.
    The others are explained in published.yaml.
    """

    dataset: str
    model: str
    values: Mapping[str, float]
    source: str
    place: str
    printed: str | None = None
    variant: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None
    expid: str | None = None
    selection: str | None = None
    budget: str | None = None
    read_off: tuple[str, ...] = ()
    data: str | None = None
    slips: tuple[str, ...] = ()

    def is_of(self, expid: str) -> bool:
        """Whether it was measured with the settings of this config of ours."""
        return self.expid is not None and expid in (self.expid, f"{self.expid}_parity")


def same(ours: Any, theirs: Any) -> bool:
    """Whether two settings are the same, however their names are written."""
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.lower() == theirs.lower()
    return ours == theirs


FIELDS = {item.name for item in fields(Figure)}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """`short` is what a table's cell has room for."""

    title: str
    id: str
    short: str


class Data(_Strict):
    """The published data of a dataset: the config that builds it, or why none of ours does."""

    build: str | None = None
    fingerprints: list[str] = []
    because: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Data:
        if (self.build is None) == (self.because is None):
            raise ValueError("set either build or because")
        return self


class Slip(_Strict):
    """What is wrong or doubtful. `where`: fields or settings of a figure, with a value or a list each."""

    where: dict[str, Any]
    says: str

    def concerns(self, figure: Figure) -> bool:
        def agrees(key: str, wanted: Any) -> bool:
            said = {**figure.settings, **figure.variant}
            found = getattr(figure, key) if key in FIELDS else said.get(key)
            return found in wanted if isinstance(wanted, list) else found == wanted

        return all(agrees(key, wanted) for key, wanted in self.where.items())


class Row(_Strict):
    """A table's row; `neuron_type` is a setting of the variant that names most rows of one table."""

    model: str | None = None
    dataset: str | None = None
    printed: str | None = None
    variant: dict[str, Any] = {}
    neuron_type: str | None = None
    settings: dict[str, Any] = {}
    run: str | None = None
    expid: str | None = None
    values: list[float | None] | list[list[float | None]]


class Table(_Strict):
    """Figures that share a source, metrics and perhaps more."""

    source: str
    place: str
    metrics: list[Metric]
    rows: list[Row] = Field(min_length=1)
    columns: dict[str, list[Any]] = Field(default={}, max_length=1)
    of: dict[str, str] = {}
    variant: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    selection: str | None = None
    budget: str | None = None
    notes: list[str] = []
    read_off: list[Metric] = []
    data: str | None = None
    slips: list[Slip] = []

    @model_validator(mode="after")
    def _complete(self) -> Table:
        for row in self.rows:
            if any(len(values) != len(self.metrics) for _, values in self._cells(row)):
                raise ValueError(f"{self.place}: a row has not as many values as there are metrics")
        for slip in self.slips:
            if not any(slip.concerns(figure) for figure in self._figures()):
                raise ValueError(f"{self.place}: no figure is where '{slip.says}' says")
        return self

    def _cells(self, row: Row) -> list[tuple[dict[str, Any], list[float | None]]]:
        """A row's values, with what each column stands for."""
        if not self.columns:
            return [({}, row.values)]
        ((key, names),) = self.columns.items()
        if len(names) != len(row.values):
            raise ValueError(f"{self.place}: a row has not as many entries as there are columns")
        return [({key: name}, values) for name, values in zip(names, row.values, strict=True)]

    def _figures(self) -> Iterator[Figure]:
        shared = {"source": self.source, "place": self.place, **self.of}
        for row in self.rows:
            own = {key: getattr(row, key) for key in ("model", "dataset", "printed", "run", "expid")}
            own = {key: value for key, value in own.items() if value is not None}
            named = {} if row.neuron_type is None else {"neuron_type": row.neuron_type}
            for column, values in self._cells(row):
                dataset = {key: value for key, value in column.items() if key == "dataset"}
                setting = {key: value for key, value in column.items() if key != "dataset"}
                pairs = zip(self.metrics, values, strict=True)
                yield Figure(
                    **{**shared, **own, **dataset},
                    values={name: value for name, value in pairs if value is not None},
                    variant={**self.variant, **named, **row.variant, **setting},
                    settings={**self.settings, **row.settings},
                    selection=self.selection,
                    budget=self.budget,
                    read_off=tuple(self.read_off),
                    data=self.data,
                )

    def figures(self) -> Iterator[Figure]:
        """Those with at least one number, each with the slips that concern it."""
        for figure in self._figures():
            if figure.values:
                yield replace(figure, slips=tuple(s.says for s in self.slips if s.concerns(figure)))


class Published(_Strict):
    """The whole file."""

    sources: dict[str, Source]
    data: dict[str, Data]
    tables: list[Table]

    @model_validator(mode="after")
    def _known_sources(self) -> Published:
        for table in self.tables:
            if table.source not in self.sources:
                raise ValueError(f"{table.place}: the source {table.source} is not among the sources")
        return self

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(figure for table in self.tables for figure in table.figures())

    def names(self, expid: str) -> bool:
        """Whether a figure was measured with the settings of this config of ours."""
        return any(figure.is_of(expid) for figure in self.figures)


@cache
def load_published() -> Published:
    """The figures that come with this package."""
    return Published.model_validate(read_yaml(FILE))
