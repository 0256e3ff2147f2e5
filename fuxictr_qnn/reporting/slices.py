"""How well predictions hold for parts of the test rows: by a feature's value, known and new ones apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fuxictr_qnn.data.places import Places
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.reporting.slice_values import UNSEEN, HeldOutRows, Values
from fuxictr_qnn.reporting.table import Cell, Table, TableRow
from fuxictr_qnn.runs.run import Run
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.calibration import figures
from fuxictr_qnn.training.metrics import auc

MOST = 12  # values that have a row of their own

Array = np.ndarray


@dataclass(frozen=True)
class Slice:
    """Some test rows.

    Attributes:
        kind: "all", "value", "rest" (values pooled), "known" or "unseen".
        mask: (N,), which rows.
    """

    name: str
    kind: str
    mask: Array


@dataclass(frozen=True)
class Measured:
    """What a run predicts for a slice, NaN where that is not defined.

    Attributes:
        corrected: predicted over observed clicks, with the correction for downsampled negatives.
    """

    run: Run
    label: str
    name: str
    kind: str
    rows: int
    clicks: int
    auc: float
    predicted_over_observed: float
    expected_calibration_error: float
    corrected: float


@dataclass(frozen=True)
class Sliced:
    """All runs on one build of one dataset, sliced by one feature."""

    feature: str
    table: Table
    measured: list[Measured]


def slice_entries(
    entries: Sequence[Entry],
    title: str,
    features: Sequence[str],
    places: Places,
    log: Callable[[str], None] = lambda text: None,
) -> list[Sliced]:
    """One table a feature: the rows of each run's test split by value.

    Args:
        title: of the tables, without the feature.

    Raises:
        RequestError: the runs' data is not there or is not theirs, an unknown feature, runs without scores.
    """
    runs = [(entry.label, run) for entry in entries for run in entry.runs]
    log(f"slicing {len(runs)} runs by {', '.join(features)}")
    data = HeldOutRows(runs[0][1], features, places)
    scored = [(label, run, _scores(run, data.rows)) for label, run in runs]
    labels = scored[0][2].y_true
    if any(not np.array_equal(labels, scores.y_true) for *_, scores in scored):
        raise RequestError(f"--slices: {title}: the runs' test labels differ, so their rows are not the same")
    sliced = []
    for feature in features:
        values = data.values(feature)
        slices = list(slices_of(values))
        measured = [measure(part, *each) for each in scored for part in slices]
        sliced.append(Sliced(feature, _table(f"{title}, by {feature}", values, measured), measured))
    return sliced


def slices_of(values: Values, most: int = MOST) -> Iterator[Slice]:
    """All rows, those of the most frequent values, the rest of the values pooled, known and unseen ids."""
    rows = np.bincount(values.codes, minlength=len(values.names))
    unseen = values.unseen if values.unseen is not None else np.zeros(len(values.codes), bool)
    known = np.flatnonzero(np.bincount(values.codes, ~unseen, minlength=len(rows)))
    top = known[np.argsort(-rows[known], kind="stable")][:most]
    yield Slice("all rows", "all", np.ones(len(values.codes), bool))
    for code in sorted(top) if values.ordered else top:
        yield Slice(values.names[code], "value", values.codes == code)
    if len(known) > len(top):
        rest = ~np.isin(values.codes, top) & ~unseen
        yield Slice(f"{len(known) - len(top):,} other values", "rest", rest)
    if unseen.any():
        yield Slice("known values", "known", ~unseen)
        yield Slice(UNSEEN, "unseen", unseen)


def measure(part: Slice, label: str, run: Run, scores: Scores) -> Measured:
    """A run's figures for a slice."""
    y, p = scores.y_true[part.mask], scores.y_pred[part.mask]
    rate = run.experiment["dataset"].get("negative_sampling_rate")
    found = figures(y, p, rate) if len(y) else {}
    return Measured(
        run,
        label,
        part.name,
        part.kind,
        len(y),
        int(y.sum()),
        auc(y, p) if 0 < y.sum() < len(y) else float("nan"),
        found.get("predicted_over_observed", float("nan")),
        found.get("expected_calibration_error", float("nan")),
        found.get("corrected_predicted_over_observed", float("nan")) if rate else float("nan"),
    )


def _scores(run: Run, rows: int) -> Scores:
    scores = run.scores()
    if scores is None:
        raise RequestError(f"--slices: '{run.folder}' keeps no test scores (test_scores.parquet)")
    if run.experiment["fit"]["task"] != "binary_classification":
        raise RequestError(f"--slices: '{run.folder}' is a regression: there are no clicks to count")
    if len(scores.y_true) != rows:
        raise RequestError(
            f"--slices: '{run.folder}' has scores of {len(scores.y_true)} rows, but its test split has {rows}"
        )
    return scores


HEADINGS = ("value", "run", "rows", "clicks", "AUC", "predicted / observed", "corrected", "ECE")


def _table(title: str, values: Values, measured: Sequence[Measured]) -> Table:
    keys = dict.fromkeys((item.kind, item.name) for item in measured)  # a value may be called "all rows"
    order = {key: place for place, key in enumerate(keys)}
    ordered = sorted(measured, key=lambda item: order[item.kind, item.name])
    rows = [_row(values.feature, item) for item in ordered]
    notes = [
        "predicted / observed: the sum of the predicted probabilities over the clicks; ECE: expected "
        "calibration error in 20 bins of equally many rows, by chance above 0, the more the fewer rows.",
    ]
    if values.unseen is not None and values.unseen.any():
        notes.append(
            f"{UNSEEN}: without an id of their own, so those below min_categr_count and missing ones, too."
        )
    elif values.unseen is not None:
        notes.append("Training has seen all values of the test rows.")
    if any(not np.isnan(item.corrected) for item in measured):
        notes.append("corrected: predicted / observed after the correction for downsampled negatives.")
    return Table(title, HEADINGS, rows, notes)


def _row(feature: str, item: Measured) -> TableRow:
    run = {"feature": feature, "value": item.name, "kind": item.kind}
    cells = [
        Cell(item.name, run),
        Cell(f"{item.label}, seed {item.run.seed}", {"label": item.label, "seed": item.run.seed}),
        Cell(f"{item.rows:,}", {"rows": item.rows}),
        Cell(f"{item.clicks:,}", {"clicks": item.clicks}),
        _number("auc", item.auc, 4),
        _number("predicted_over_observed", item.predicted_over_observed, 3),
        _number("corrected_predicted_over_observed", item.corrected, 3),
        _number("expected_calibration_error", item.expected_calibration_error, 4),
    ]
    return TableRow(cells)


def _number(name: str, value: float, digits: int) -> Cell:
    return Cell() if np.isnan(value) else Cell(f"{value:.{digits}f}", {name: value})
