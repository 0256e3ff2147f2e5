"""Scores of a file of rows by one run or several, joined to the file's own ids."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from fuxictr_qnn.data.building.threads import ahead, in_turn
from fuxictr_qnn.data.raw.reading import Block, RawFiles
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.serving.encoding import Encoded
from fuxictr_qnn.serving.files import is_csv, open_rows, written
from fuxictr_qnn.serving.kinds import kind_of
from fuxictr_qnn.serving.measuring import Measures
from fuxictr_qnn.serving.scoring import RunScorer
from fuxictr_qnn.serving.submission import SUBMISSIONS, Ids, Submission, pack

SCORE = "y_pred"
_NOT_IN_CSV = (pl.Binary, pl.Duration, pl.Object)
Average = Literal["probability", "logit"]


@dataclass
class Prediction:
    """What came of scoring a file.

    Attributes:
        files: that were written.
        unknown: feature -> values that are not in its vocabulary; of several runs, in that which lacks most.
            Empty where the file holds ids.
        metrics: where the file has labels.
        notes: sentences that the user should read.
    """

    files: list[Path]
    rows: int = 0
    seconds: float = 0.0
    unknown: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def predict_file(
    scorers: Sequence[RunScorer],
    data: Path,
    to: Path,
    id_cols: Sequence[str] = (),
    *,
    average: Average = "probability",
    submission: str | None = None,
) -> Prediction:
    """Score every row of a file, in its order and in bounded memory.

    Args:
        scorers: of one task; their predictions are averaged.
        data: CSV or parquet.
        to: the file of the scores, or with `submission` the folder of its files; what is there is replaced.
        id_cols: columns of the file that are written beside the scores.
        average: of probabilities, or of logits.
        submission: a name of SUBMISSIONS.

    Raises:
        RequestError: columns that are missing, cells that cannot be read; nothing was written then.
        RunError: predictions that are not finite, a disk that fails; nothing is left then.
    """
    started = time.perf_counter()
    form = SUBMISSIONS[submission] if submission else None
    rows = _Rows(scorers, data, to, id_cols, form)
    result = Prediction([to / form.member, to / form.archive] if form else [to])
    second = (result.files[1], partial(pack, form)) if form else ()
    measures = Measures(scorers[0].run.experiment.fit.metrics, rows.group is not None)
    with written(result.files[0], *second) as write, _one_thread_each() as workers:
        for block, scores, unknown in in_turn(partial(rows.scored, average), rows.blocks(), workers):
            write(rows.output(block, scores))
            result.rows += len(scores)
            for name, count in unknown.items():
                result.unknown[name] = result.unknown.get(name, 0) + count
            rows.measure(block, scores, measures)
        if not result.rows:
            raise RequestError(f"--data {data}: has no rows")
        if note := rows.check():
            result.notes.append(note)
    result.notes += rows.label_notes
    result.metrics = {} if rows.label_notes else measures.values()
    result.seconds = time.perf_counter() - started
    return result


def averaged(scores: Sequence[np.ndarray], average: Average) -> np.ndarray:
    """The mean of several runs' predictions (rows,), or of their logits as a probability."""
    if len(scores) == 1:
        return scores[0]
    if average == "probability":
        return np.mean(scores, axis=0)
    epsilon = np.finfo(np.float64).eps
    p = np.clip(scores, epsilon, 1 - epsilon)
    return 1 / (1 + np.exp(-np.mean(np.log(p) - np.log1p(-p), axis=0)))


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """How many threads may score: as many as torch would use, each of which then has one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class _Rows:
    """The file, as far as it is read, and what is made of each block beside its scores."""

    def __init__(
        self,
        scorers: Sequence[RunScorer],
        data: Path,
        to: Path,
        id_cols: Sequence[str],
        form: Submission | None,
    ):
        self._scorers = scorers
        self._place = f"'{data}'"
        self._score = form.score if form else SCORE
        run = scorers[0].run
        raw = open_rows(data, run.dataset, _types_of(scorers) if is_csv(data) else {})
        schema = raw.schema()
        self._id_cols = list(dict.fromkeys(id_cols))
        self._ids = Ids(form, form.id not in schema) if form else None
        if form and form.id in schema:
            self._id_cols = [form.id]
        problems = self._id_problems(schema, to)
        inputs: dict[str, None] = {}
        for scorer in scorers:
            try:
                inputs |= dict.fromkeys(scorer.encoder.inputs(schema, self._place))
            except RequestError as error:
                problems += error.problems
        if problems:
            raise RequestError(dict.fromkeys(problems))
        label = run.dataset.label_col[0].name if run.dataset.label_col else None
        self._label = label if label in schema else None
        group = run.dataset.group_id
        self.group = group if self._label and group in schema else None
        self._columns = list(inputs)
        self._raw: RawFiles = raw.with_written(
            list(dict.fromkeys([*self._id_cols, *filter(None, (self._label, self.group))]))
        )
        self.label_notes: list[str] = []

    def _id_problems(self, schema: pl.Schema, to: Path) -> list[str]:
        problems = [
            f"--id-cols: {self._place} has no column '{name}'.{nearest(name, schema)}"
            for name in self._id_cols
            if name not in schema
        ]
        for name in self._id_cols:
            if name == self._score:
                problems.append(f"--id-cols {name}: the scores have this name; rename it in {self._place}")
            not_in_csv = name in schema and (schema[name].is_nested() or schema[name] in _NOT_IN_CSV)
            if not_in_csv and to.suffix.lower() != ".parquet":
                problems.append(
                    f"--id-cols {name}: holds {schema[name]}, which CSV cannot; name a .parquet file"
                )
        return problems

    def blocks(self) -> Iterator[Block]:
        """The rows as they are in the file; a thread reads the next ones."""
        return ahead(self._raw.blocks(self._columns))

    def scored(self, average: Average, block: Block) -> tuple[Block, np.ndarray, dict[str, int]]:
        """A block, its scores and how many values of each feature are unknown.

        Runs on the same data share the encoding.
        """
        made: dict[str, Encoded] = {}
        scores = []
        for scorer in self._scorers:
            if (key := _vocabulary_key(scorer)) not in made:
                made[key] = scorer.encoder.encode(block)
            scores.append(scorer.score(made[key]))
        return block, averaged(scores, average), _unknown(made.values())

    def output(self, block: Block, scores: np.ndarray) -> pl.DataFrame:
        """The rows to write."""
        if self._ids:
            columns = [self._ids.of(block, self._place)]
        else:
            columns = [block.written(name) for name in self._id_cols]
        return pl.DataFrame([*columns, pl.Series(self._score, scores)])

    def check(self) -> str | None:
        """What is to be said of the ids of a submission; RequestError where they cannot be."""
        return self._ids.check(self._place) if self._ids else None

    def measure(self, block: Block, scores: np.ndarray, measures: Measures) -> None:
        """Take the labels of a block, unless some of them cannot be."""
        if self._label is None or self.label_notes:
            return
        written = block.written(self._label)
        labels = written.cast(pl.Float64, strict=False)
        binary = self._scorers[0].run.experiment.fit.task == "binary_classification"
        fits = labels.is_in([0.0, 1.0]) if binary else labels.is_finite()
        if not (fits := fits.fill_null(False)).all():
            at = (~fits).arg_max()
            self.label_notes.append(
                f"no metrics: {block.place(at)}: label '{self._label}' is {written[at]!r}"
            )
            return
        group = block.written(self.group).to_list() if self.group else None
        measures.add(labels.to_numpy(), scores, group)


def _types_of(scorers: Sequence[RunScorer]) -> dict[str, Any]:
    """What the runs read the columns of CSV as.

    Raises:
        RequestError: columns that one run knows as text and another as numbers.
    """
    types: dict[str, Any] = {}
    problems = []
    for scorer in scorers:
        for name, dtype in scorer.encoder.types.items():
            known = types.setdefault(name, dtype)
            if kind_of(known) != kind_of(dtype):
                problems.append(
                    f"--run: {scorer.run.name} reads column '{name}' as {kind_of(dtype)}, another run as "
                    f"{kind_of(known)}: predict with them one by one"
                )
    if problems:
        raise RequestError(problems)
    return types


def _vocabulary_key(scorer: RunScorer) -> str:
    """Runs with the same key read rows alike."""
    return f"{scorer.metrics.get('data_fingerprint')} {scorer.encoder.names}"


def _unknown(encoded: Iterable[Encoded]) -> dict[str, int]:
    """The unknown values of a block; where several runs count, the larger number."""
    found: dict[str, int] = {}
    for rows in encoded:
        found |= {name: max(count, found.get(name, 0)) for name, count in rows.unknown.items()}
    return found
