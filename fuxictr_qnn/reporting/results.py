"""The table that `compare` and `report` print: entries, their comparison, and the published figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from fuxictr_qnn.reporting.comparison import Comparison, fixed_comparator
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.reporting.protocol import LEAST_GAIN, POWER
from fuxictr_qnn.reporting.published import Figure, load_published
from fuxictr_qnn.reporting.reproduced import figure_beside, verdict
from fuxictr_qnn.reporting.statistics import Spread
from fuxictr_qnn.reporting.table import MISSING, Cell, Table, TableRow

DECIMALS = 5
SMALL = 0.05  # a logloss below it is shown with one decimal more
ALWAYS = ("AUC", "logloss")
BREAKS = ("parameters",)  # who is better, then what it costs and what is published


@dataclass(frozen=True, eq=False)
class Line:
    """An entry and what its cells are made of."""

    entry: Entry
    comparison: Comparison
    published_data: Collection[str]

    @property
    def is_best(self) -> bool:
        return self.entry.label in self.comparison.best

    @cached_property
    def figure(self) -> Figure | None:
        record = self.entry.record
        return figure_beside(record.dataset_id, record.expid, record.model, self.entry.settings)

    @cached_property
    def calibration(self) -> tuple[Spread, Spread] | None:
        """Expected calibration error, and predicted over observed clicks; None without test scores."""
        found = [run.calibration for run in self.entry.runs if run.calibration is not None]
        if not found:
            return None
        errors, ratios = zip(*found, strict=True)
        return Spread.of(errors), Spread.of(ratios)


def results_table(title: str, comparison: Comparison, published_data: Collection[str] = ()) -> Table:
    """One row an entry.

    Args:
        published_data: fingerprints of the published data (see `published_fingerprints`).
    """
    lines = [Line(entry, comparison, published_data) for entry in comparison.entries]
    columns = _columns(comparison)
    rows = [TableRow([cell(line) for cell in columns.values()], outside=line.entry.recipe) for line in lines]
    record = lines[0].entry.record
    facts = {"dataset_id": record.dataset_id, "data_fingerprint": record.data_fingerprint}
    return Table(title, list(columns), rows, list(_notes(comparison, lines)), facts, BREAKS)


def _columns(comparison: Comparison) -> dict[str, Callable[[Line], Cell]]:
    """Heading -> what fills the column."""
    other = dict.fromkeys(
        name for entry in comparison.entries for name in entry.record.test if name not in ALWAYS
    )
    return {
        "model": _name,
        "seeds": _seeds,
        "valid AUC": lambda line: _spread(line, "valid", "AUC"),
        "test AUC": lambda line: _spread(line, "test", "AUC"),
        "test logloss": lambda line: _spread(line, "test", "logloss"),
        **{f"test {name}": lambda line, name=name: _spread(line, "test", name) for name in other},
        "AUC - comparator's [95 % over seeds]": _difference,
        "p": _p,
        f"[95 % over {comparison.clusters or 'rows'}]": _over_rows,
        "is": _verdict,
        "parameters": _parameters,
        "s / epoch": _number("seconds_per_epoch", "{:.1f}"),
        "s to best epoch": _number("seconds_to_best", "{:.0f}"),
        "rows / s": _number("rows_per_second", "{:,.0f}"),
        "ms / 100 rows": _number("latency_ms_per_100_rows", "{:.2f}"),
        "peak MB": _number("peak_memory_mb", "{:,.0f}"),
        "calibration error": _calibration_error,
        "predicted / observed clicks": _predicted_over_observed,
        "published AUC / logloss": _published,
        "source": _source,
        "verdict": _reproduced,
    }


def plus_minus(spread: Spread, decimals: int | None = None) -> str:
    """Mean ± standard deviation, or the one value; by default with the decimals of an AUC or a logloss."""
    if decimals is None:
        decimals = DECIMALS + (spread.mean < SMALL)
    mean = f"{spread.mean:.{decimals}f}"
    return mean if spread.sd is None else f"{mean} ± {spread.sd:.{decimals}f}"


def _name(line: Line) -> Cell:
    entry, record = line.entry, line.entry.record
    text = f"{entry.label} ({entry.kind_of_recipe})" if entry.recipe else entry.label
    values = {"expid": record.expid, "model": record.model, "label": entry.label}
    more = {"config_digest": record.config_digest, "recipe": int(entry.recipe)}
    return Cell(text, values | more, line.is_best)


def _seeds(line: Line) -> Cell:
    done, lost = line.entry.seeds, sorted(line.entry.failed)
    text = ", ".join([*_ranges(done), *(f"{seed} failed" for seed in lost)])
    return Cell(text, {"seeds": " ".join(map(str, done)), "failed_seeds": " ".join(map(str, lost))})


def _ranges(seeds: Sequence[int]) -> Iterator[str]:
    """1, 2, 3, 7 as 1-3 and 7."""
    starts = [i for i, seed in enumerate(seeds) if i == 0 or seed != seeds[i - 1] + 1]
    for start, end in zip(starts, [*starts[1:], len(seeds)], strict=True):
        first, last = seeds[start], seeds[end - 1]
        yield str(first) if first == last else f"{first}-{last}" if last > first + 1 else f"{first}, {last}"


def _spread(line: Line, split: str, metric: str) -> Cell:
    spread, name = line.entry.spread(split, metric), f"{split}_{metric}"
    if spread is None:
        return Cell(values={name: None, f"{name}_sd": None})
    bold = line.is_best and (split, metric) == ("test", "AUC")
    return Cell(plus_minus(spread), {name: spread.mean, f"{name}_sd": spread.sd}, bold)


def _difference(line: Line) -> Cell:
    names = ("difference", "difference_low", "difference_high")
    gap = line.comparison.differences.get(line.entry.label)
    if gap is None:
        return Cell(values=dict.fromkeys(names))
    values = gap.value, gap.seeds.low, gap.seeds.high
    text = "{:+.5f} [{:+.5f}, {:+.5f}]".format(*values)
    return Cell(text, dict(zip(names, values, strict=True)))


def _p(line: Line) -> Cell:
    gap = line.comparison.differences.get(line.entry.label)
    if gap is None:
        return Cell(values={"p_holm": None, "p": None})
    return Cell("< 0.0001" if gap.p < 1e-4 else f"{gap.p:.4f}", {"p_holm": gap.p, "p": gap.seeds.p})


def _over_rows(line: Line) -> Cell:
    gap = line.comparison.differences.get(line.entry.label)
    if gap is None or gap.rows is None:
        return Cell(values={"rows_low": None, "rows_high": None})
    low, high = gap.rows
    return Cell(f"[{low:+.5f}, {high:+.5f}]", {"rows_low": low, "rows_high": high})


def _verdict(line: Line) -> Cell:
    if line.entry is line.comparison.comparator:
        return Cell("comparator", {"against_comparator": "comparator"})
    gap = line.comparison.differences.get(line.entry.label)
    return Cell(gap.verdict if gap else MISSING, {"against_comparator": gap.verdict if gap else None})


def _parameters(line: Line) -> Cell:
    record = line.entry.record
    values = {
        "parameters": record.parameters,
        "parameters_without_embeddings": record.parameters_without_embeddings,
    }
    return Cell(f"{record.parameters:,}", values)


def _number(attribute: str, form: str) -> Callable[[Line], Cell]:
    """The mean of a number of each run."""

    def cell(line: Line) -> Cell:
        value = line.entry.mean(attribute)
        return Cell(MISSING if value is None else form.format(value), {attribute: value})

    return cell


def _calibration_error(line: Line) -> Cell:
    found = line.calibration and line.calibration[0]
    text = plus_minus(found, 4) if found else MISSING
    return Cell(text, {"calibration_error": found.mean if found else None})


def _predicted_over_observed(line: Line) -> Cell:
    found = line.calibration and line.calibration[1]
    text = plus_minus(found, 3) if found else MISSING
    return Cell(text, {"predicted_over_observed": found.mean if found else None})


def _published(line: Line) -> Cell:
    names = ("AUC", "logloss")
    values = [line.figure.values.get(name) if line.figure else None for name in names]
    text = " / ".join(map(_as_printed, values))
    values = {f"published_{name}": value for name, value in zip(names, values, strict=True)}
    return Cell(text if line.figure else MISSING, values)


def _as_printed(value: float | None) -> str:
    """With four decimals, as papers print it, or the six of a log."""
    if value is None:
        return MISSING
    return f"{value:.4f}" if round(value, 4) == value else f"{value:.6f}"


def _source(line: Line) -> Cell:
    figure = line.figure
    if figure is None:
        return Cell(values={"published_source": None, "published_slips": None})
    text = source_of(figure)
    slips = "; ".join(figure.slips)
    return Cell(text + " *" * bool(slips), {"published_source": text, "published_slips": slips or None})


def source_of(figure: Figure) -> str:
    """A figure's source in few words."""
    return f"{load_published().sources[figure.source].short}, {figure.run or figure.place}"


def _reproduced(line: Line) -> Cell:
    auc, logloss = (line.entry.spread("test", name) for name in ALWAYS)
    if line.figure is None or auc is None:
        return Cell(values={"published_verdict": None})
    text = verdict(
        line.figure,
        line.entry.record.dataset_id,
        line.entry.record.data_fingerprint,
        auc.mean,
        logloss.mean if logloss else None,
        line.published_data,
    )
    return Cell(text, {"published_verdict": text})


def _notes(comparison: Comparison, lines: Sequence[Line]) -> Iterator[str]:
    """What a reader must know to read the table."""
    yield from _about_tests(comparison)
    yield from (f"{note}." for note in comparison.notes)
    for line in lines:
        for seed, why in sorted(line.entry.failed.items()):
            yield f"{line.entry.label}, seed {seed} has no result: {why}"
    for kind in dict.fromkeys(line.entry.kind_of_recipe for line in lines if line.entry.recipe):
        yield f"Rows marked '{kind}' stand outside ranking and tests."
    devices = dict.fromkeys(run.record.device for line in lines for run in line.entry.runs)
    yield f"Trained on {'; '.join(devices)}."
    if len(devices) > 1:
        yield "Times on different devices do not compare."
    yield from _about_figures(lines)


def _about_tests(comparison: Comparison) -> Iterator[str]:
    if comparison.untested:
        yield f"No test and no ranking: {comparison.untested}."
        return
    over, count = comparison.clusters or "rows", len(comparison.differences)
    fewest, *more = comparison.detectable
    yield (
        f"The comparator is {comparison.comparator.label}{_fixed(comparison)}. p: Welch's t-test over the "
        f"seeds, corrected by Holm for {count} test{'s' * (count > 1)}. Over {over}: bootstrap of the test "
        f"{over}, at these trained weights."
    )
    yield (
        f"Better or worse: p < 0.05, the interval over {over} without 0, and at least {LEAST_GAIN:g} AUC; "
        "all else is a tie. Bold: the best mean test AUC, and every row that neither it nor the comparator "
        "is better than."
    )
    yield (
        f"The smallest difference in AUC that two models of {fewest} seeds each show with a chance of "
        f"{100 * POWER:.0f} %, at the common standard deviation: {comparison.detectable[fewest]:.5f}"
        + "".join(f"; of {seeds} seeds each: {comparison.detectable[seeds]:.5f}" for seeds in more)
        + "."
    )


def _fixed(comparison: Comparison) -> str:
    if comparison.comparator.label != fixed_comparator(comparison.entries):
        return ""
    return ", as fixed before the test split was read"


def _about_figures(lines: Sequence[Line]) -> Iterator[str]:
    figures = [line.figure for line in lines if line.figure]
    if not figures:
        return
    for name, figure in {source_of(figure): figure for figure in figures if figure.slips}.items():
        yield f"* {name}: {'; '.join(figure.slips)}."
    yield (
        "Published figures: reproduced on the published data within 0.001 AUC (Criteo and Avazu 0.0003) and "
        "1 % of the logloss; data differ where the fingerprint of the data is not known as the published one."
    )
    data = load_published().data.get(lines[0].entry.record.dataset_id)
    if data and data.because:
        yield f"Those of this dataset cannot be reproduced here: {data.because}."
