"""The report of a comparison: the table of its final runs, with what the protocol wants said about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from fuxictr_qnn.comparing.entrants import notes_on, without_recipes
from fuxictr_qnn.comparing.final import Final
from fuxictr_qnn.comparing.rows import entries_of, without_result
from fuxictr_qnn.comparing.session import Comparison
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.reporting.report import Section, make_section, write_report
from fuxictr_qnn.reporting.table import FORMATS
from fuxictr_qnn.tuning.space import value_text


def report_on(
    comparison: Comparison,
    formats: Sequence[str] = tuple(FORMATS),
    log: Callable[[str], None] = lambda line: None,
) -> tuple[Section, list[str], list[Path]]:
    """Write the report into the folder; returns the section, what is left out of it, and the files."""
    terms, folder = comparison.terms, comparison.folder
    chosen = folder.chosen
    finals = comparison.finals(chosen)
    places = Places(comparison.data.data_root, comparison.data.build_dir)
    section = make_section(
        (terms.dataset, terms.data_fingerprint), entries_of(finals), chosen["comparator"], places, log=log
    )
    notes = [*protocol_notes(comparison, finals, chosen), *section.table.notes]
    section = replace(section, table=replace(section.table, notes=notes))
    left_out = [*comparison.lost, *without_result(finals), *_not_counted(comparison, finals)]
    files = write_report(
        [section],
        folder.path,
        title=f"Comparison on {terms.dataset}",
        formats=formats,
        left_out=left_out,
    )
    return section, left_out, files


def protocol_notes(comparison: Comparison, finals: Sequence[Final], chosen: dict[str, Any]) -> Iterator[str]:
    """How the rows came to be."""
    terms, folder = comparison.terms, comparison.folder
    yield from _about_trials(comparison, chosen)
    yield from notes_on(comparison.entrants)
    seeds = f"Final seeds: 1 to {terms.seeds}" if terms.seeds > 1 else "Final seed: 1"
    if terms.last_seed > terms.seeds:
        names = " and ".join(name for name in (chosen["comparator"], chosen["proposed"]) if name)
        seeds += f", and to {terms.last_seed} for {names}, chosen by validation"
    yield f"{seeds}; none of them was tuned with. Validation alone chose epoch, schedule and settings."
    counted = [line for line in folder.scorings if _is_of(line, finals)]
    yield (
        f"The test split was scored {len(counted)} times: once for each final config and seed "
        "(test_log.jsonl)."
    )
    yield (
        f"Configs and comparator (best mean validation AUC of the baselines) were fixed on "
        f"{chosen['when'][:10]}, before any test split was read (chosen.yaml)."
    )


def _about_trials(comparison: Comparison, chosen: dict[str, Any]) -> Iterator[str]:
    terms = comparison.terms
    if not terms.trials:
        yield "The configs stand as they are: their settings were not searched here, and perhaps not equally."
        return
    how = "proposed by TPE in" if terms.search == "tpe" else "at the same points of"
    seeds = sorted({entrant.base.seed for entrant in without_recipes(comparison.entrants)})
    yield (
        f"{terms.trials} trials of each model, {how} a shared space (comparison.yaml), with seed "
        f"{', '.join(map(str, seeds))}."
    )
    for label, said in chosen["configs"].items():
        if "settings" not in said:
            continue
        values = ", ".join(f"{key}={value_text(value)}" for key, value in said["settings"].items())
        failed = f"; {said['trials_failed']} failed" if said["trials_failed"] else ""
        fewer = ""
        if said["trials"] < terms.trials:
            fewer = f"; {said['trials']} trials, as there are no more different ones"
        yield f"{label}: {values}{fewer}{failed}{_range_of(comparison, label)}."


def _range_of(comparison: Comparison, label: str) -> str:
    """What its trials reached: a model may have been lucky, or most of its points no good."""
    sweep = comparison.sweeps[label]
    found = [row.standing.value for row in sweep.all_rows if row.standing.state == "done"]
    if len(found) < 2:
        return ""
    low, high = min(found), max(found)
    return f"; valid {sweep.space.monitor} of the trials {low:.4f} to {high:.4f}, median {median(found):.4f}"


def _is_of(line: dict[str, Any], finals: Sequence[Final]) -> bool:
    return any(all(line.get(key) == value for key, value in final.name.items()) for final in finals)


def _not_counted(comparison: Comparison, finals: Sequence[Final]) -> Iterator[str]:
    """Runs in the folder that are none of the final ones."""
    ours = {final.path for final in finals}
    for file in sorted(comparison.folder.runs.glob("*/seed*/config.yaml")):
        if file.parent not in ours:
            yield f"'{file.parent}' is of settings or seeds that this comparison does not count"
