"""Files about many runs: tables, pictures, one page. What `fuxictr report` writes, and `compare` too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fuxictr_qnn.data.places import Places
from fuxictr_qnn.errors import RequestError, do_all, unknown
from fuxictr_qnn.files import is_writable, write_bytes, write_text
from fuxictr_qnn.reporting.comparison import Comparison, compare_entries
from fuxictr_qnn.reporting.entries import Entry, Role, entries_by_data
from fuxictr_qnn.reporting.page import page
from fuxictr_qnn.reporting.plots import Picture, has_matplotlib, pictures
from fuxictr_qnn.reporting.reproduced import published_fingerprints
from fuxictr_qnn.reporting.results import results_table
from fuxictr_qnn.reporting.slice_plot import draw_slices
from fuxictr_qnn.reporting.slices import Sliced, slice_entries
from fuxictr_qnn.reporting.table import FORMATS, Table, csv_of
from fuxictr_qnn.reporting.tensorboard import require_tensorboard, write_events
from fuxictr_qnn.reporting.theme import alone, as_png, as_svg
from fuxictr_qnn.reporting.users import users_of
from fuxictr_qnn.runs.run import FailedRun, Run

NO_PLOTS = "no pictures: they need matplotlib, pip install 'fuxictr-qnn[plot]'"

Log = Callable[[str], None]


@dataclass(frozen=True)
class Section:
    """Everything about the runs on one build of one dataset. `name` begins the names of its pictures."""

    name: str
    comparison: Comparison
    table: Table


def sections_of(
    runs: Iterable[Run],
    *,
    comparator: str | None = None,
    significance: bool = False,
    recipes: Collection[str] = (),
    failed: Collection[FailedRun] = (),
    role_of: Callable[[Run], Role | None] = lambda run: None,
    places: Places | None = None,
    log: Log = lambda message: None,
) -> list[Section]:
    """Compare the runs on each build of each dataset.

    Args:
        comparator: label or expid of the row to compare with, where it is among the rows.
        significance: refuse rows with too few seeds for a test.
        recipes: expids of configs as they stand, outside ranking and tests.
        failed: runs without a result, which the rows of their configs list.
        role_of: what a comparison fixed about a run's config (comparing/roles.py).
        places: where raw files may lie whose md5 tell whether a run had the published data, and builds that
            know the users of the test rows.

    Raises:
        RequestError: a comparator or a recipe that no run has; with `significance`, too few seeds.
    """
    groups = entries_by_data(runs, recipes, failed, role_of)
    rows = [entry for entries in groups.values() for entry in entries]
    names = sorted({name for row in rows for name in (row.label, row.record.expid)})
    if comparator is not None and comparator not in names:
        raise RequestError(unknown("--comparator", comparator, names))
    return [
        make_section(
            data,
            entries,
            comparator if _has(entries, comparator) else None,
            places,
            groups,
            log,
            significance=significance,
        )
        for data, entries in groups.items()
    ]


def make_section(
    data: tuple[str, str],
    entries: Sequence[Entry],
    comparator: str | None = None,
    places: Places | None = None,
    others: Collection[tuple[str, str]] = (),
    log: Log = lambda message: None,
    *,
    significance: bool = False,
) -> Section:
    """Compare entries on the same data.

    Args:
        data: dataset and fingerprint of the data.
        others: what else there are sections of; where one has the same dataset, the names tell the data.
    """
    dataset_id, fingerprint = data
    several = sum(other == dataset_id for other, _ in others) > 1
    log(f"comparing {len(entries)} experiments on {dataset_id}")
    published = published_fingerprints(dataset_id, places, log) if places else set()
    users = partial(users_of, places=places or Places())
    comparison = compare_entries(entries, comparator, significance=significance, users_of=users)
    table = results_table(f"{dataset_id} (data {fingerprint})", comparison, published)
    return Section(f"{dataset_id}-{fingerprint}" if several else dataset_id, comparison, table)


def slices_of_sections(
    sections: Iterable[Section], features: Sequence[str], places: Places, log: Log = lambda message: None
) -> list[tuple[Section, Sliced]]:
    """The test rows of each section's runs by the values of features.

    Raises:
        RequestError: see `slice_entries`; problems of all sections together.
    """
    found: list[tuple[Section, Sliced]] = []

    def add(section: Section) -> None:
        entries = section.comparison.entries
        sliced = slice_entries(entries, section.table.title, list(dict.fromkeys(features)), places, log)
        found.extend((section, each) for each in sliced)

    do_all(partial(add, section) for section in sections)
    return found


def check_request(to: Path, formats: Sequence[str], tensorboard: bool) -> None:
    """Refuse, before anything is read, what could not be written.

    Raises:
        RequestError: the folder cannot be written, or a package is missing.
    """
    problems = []
    if not is_writable(to.absolute()):
        problems.append(f"--to {to}: cannot be written; name a folder that you own")
    problems += [unknown("--format", name, FORMATS) for name in formats if name not in FORMATS]
    if tensorboard:
        try:
            require_tensorboard()
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)


def write_report(
    sections: Sequence[Section],
    to: Path,
    *,
    title: str = "Results",
    formats: Sequence[str] = tuple(FORMATS),
    left_out: Sequence[str] = (),
    tensorboard: bool = False,
    slices: Sequence[tuple[Section, Sliced]] = (),
) -> list[Path]:
    """Write results.csv (a row a run), table.* in each format, plots/ and report.html.

    Args:
        slices: of `slices_of_sections`; they become slices.* in each format, pictures and a part of the page.
        left_out: a sentence about each run folder that is in no table.

    Returns:
        The files, the page last.
    """
    tables = [section.table for section in sections]
    texts = {"results.csv": csv_of([line for section in sections for line in _lines(section)])}
    for ending, write in (FORMATS[name] for name in formats):
        texts[f"table.{ending}"] = write(tables)
        if slices:
            texts[f"slices.{ending}"] = write([sliced.table for _, sliced in slices])
    written = []
    for name, text in texts.items():
        write_text(to / name, text)
        written.append(to / name)
    drawn = [pictures(section.comparison.entries) if has_matplotlib() else [] for section in sections]
    for section, drawings in zip(sections, drawn, strict=True):
        written += [file for picture in drawings for file in _write_picture(section, picture, to / "plots")]
    if tensorboard:
        for section in sections:
            written += write_events(section.comparison.entries, to / "tensorboard" / section.name)
    parts = list(zip(tables, drawn, strict=True))
    for section, sliced in slices:
        drawings = [draw_slices(sliced, section.comparison.entries)] if has_matplotlib() else []
        written += [file for picture in drawings for file in _write_picture(section, picture, to / "plots")]
        parts.append((sliced.table, drawings))
    remarks = [] if has_matplotlib() else [f"{NO_PLOTS}."]
    write_text(to / "report.html", page(title, parts, left_out, remarks))
    return [*written, to / "report.html"]


def _has(entries: Sequence[Entry], name: str | None) -> bool:
    return any(name in (entry.label, entry.record.expid) for entry in entries)


def _write_picture(section: Section, picture: Picture, folder: Path) -> list[Path]:
    svg, png = (folder / f"{section.name}-{picture.name}.{ending}" for ending in ("svg", "png"))
    write_text(svg, alone(as_svg(picture.figure, picture.name, picture.title)))
    write_bytes(png, as_png(picture.figure))
    return [svg, png]


def _lines(section: Section) -> list[dict[str, Any]]:
    """A row a run: what metrics.json says of it, without nesting."""
    lines = []
    for entry in section.comparison.entries:
        for run in entry.runs:
            record = run.record.model_dump()
            plain = {key: value for key, value in record.items() if not isinstance(value, dict)}
            scores = {f"{part}_{name}": x for part in ("valid", "test") for name, x in record[part].items()}
            seconds = {f"{name}_seconds": value for name, value in record["seconds"].items()}
            more = {"seconds_per_epoch": run.seconds_per_epoch, "seconds_to_best": run.seconds_to_best}
            error, ratio = run.calibration or (None, None)
            known = {"calibration_error": error, "predicted_over_observed": ratio}
            ends = {"folder": str(run.folder)}
            lines.append({"label": entry.label, **plain, **scores, **seconds, **more, **known, **ends})
    return lines
