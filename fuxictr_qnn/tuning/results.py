"""What a sweep leaves for its reader: a table in CSV and Markdown, and the best config."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from fuxictr_qnn.files import write_text
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.tuning.space import value_text
from fuxictr_qnn.tuning.sweep import Row, Sweep

DIGITS = 6
_ORDER = ("done", "pruned", "failed", "begun", "new")


class Table(NamedTuple):
    """Rows of text under headings."""

    headings: list[str]
    rows: list[list[str]]

    def for_people(self) -> Table:
        """Without columns that have no entry, and without a seed that all trials share."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headings)
        used = [
            place
            for place, (heading, cells) in enumerate(zip(self.headings, columns, strict=True))
            if any(cells) and not (heading == "seed" and len(set(cells)) == 1)
        ]
        headings, *rows = ([cells[place] for place in used] for cells in (self.headings, *self.rows))
        return Table(headings, rows)


def results(sweep: Sweep) -> Table:
    """A row a trial: the done ones by the monitored value, then the pruned, the failed and those to do."""
    fit, axes = sweep.space.fit, [key for key in sweep.space.axes if key != "seed"]
    metrics = [*fit.metrics] if isinstance(fit.monitor, str) else [sweep.space.monitor, *fit.metrics]
    headings = ["trial", "seed", *axes, "state", *(f"valid {name}" for name in metrics)]
    headings += ["best epoch", "epochs", "train seconds", "parameters", "note"]
    sign = -1 if sweep.maximise else 1

    def rank(row: Row) -> tuple[int, float]:
        return _ORDER.index(row.standing.state), sign * (row.standing.value or 0)

    return Table(headings, [_cells(row, axes, metrics) for row in sorted(sweep.all_rows, key=rank)])


def _cells(row: Row, axes: list[str], metrics: list[str]) -> list[str]:
    trial, standing = row.trial, row.standing
    record = standing.metrics or {}
    monitor = trial.experiment.fit.monitor
    # of a trial that is not done the best so far is known, but not the other metrics at that evaluation
    best = {monitor if isinstance(monitor, str) else metrics[0]: standing.value}
    valid = best | record.get("valid", {})
    epochs = [record.get(key, "") for key in ("best_epoch", "epochs")]
    seconds = record.get("seconds", {}).get("train")
    return [
        trial.digest,
        str(trial.seed),
        *(value_text(trial.values[key]) for key in axes),
        standing.state,
        *(_number(valid.get(name)) for name in metrics),
        *map(str, epochs),
        "" if seconds is None else f"{seconds:.1f}",
        str(record.get("parameters", "")),
        " ".join(standing.reason.split()),
    ]


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.{DIGITS}f}"


def write_tables(sweep: Sweep) -> None:
    """results.csv and results.md, and best.yaml once a trial is done."""
    table, folder = results(sweep), sweep.store.folder
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.headings, *table.rows])
    write_text(folder / "results.csv", text.getvalue())
    write_text(folder / "results.md", _page(sweep, table.for_people()))
    if sweep.best is not None:
        write_text(folder / "best.yaml", _best_config(sweep))
    else:  # of another space, or on other data
        (folder / "best.yaml").unlink(missing_ok=True)


def _page(sweep: Sweep, table: Table) -> str:
    tuner = sweep.space.tuner
    counts = {state: sweep.count(state) for state in ("done", "pruned", "failed")}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
    data = sorted({row.folder.fingerprint for row in sweep.all_rows})
    best = f"The best settings: {_best_settings(sweep)}. " if len(sweep.winners) > 1 else ""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table.rows]
    return (
        f"# {tuner.name}\n\n"
        f"{tuner.expid} on {tuner.dataset.name} (data {', '.join(data)}), {_seeds(sweep.all_rows)}, "
        f"varied by {tuner.file.name}: {said}; {sweep.to_do} to do. Search: {sweep.options.search}. {best}"
        "Every figure is of the validation split; no trial has read the test split.\n\n"
        f"{markdown(table.headings, rows)}\n"
    )


def _best_config(sweep: Sweep) -> str:
    """The config of the best trial as its run folder has it, and what it is."""
    config = (sweep.best.folder.path / "config.yaml").read_text()
    return (
        f"# {_best_settings(sweep)}, the best of {len(sweep.done)} trials\n"
        f"#     fuxictr run --config best.yaml --seed {' '.join(map(str, final_seeds(sweep)))}\n{config}"
    )


def _best_settings(sweep: Sweep) -> str:
    """The best settings and their value, as a sentence without its end."""
    several = len(sweep.winners) > 1
    label = sweep.best.trial.settings_label if several else sweep.best.trial.label
    over = f", the mean over {_seeds(sweep.winners)}" if several else ""
    value = f"valid {sweep.space.monitor} {sweep.best_value:.{DIGITS}f}"
    return f"{label or 'the base settings'}: {value}{over}"


def _seeds(rows: Sequence[Row]) -> str:
    seeds = sorted({row.trial.seed for row in rows})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def final_seeds(sweep: Sweep) -> list[int]:
    """The first three from 1 on that chose nothing: no trial had them."""
    used = {row.trial.seed for row in sweep.all_rows}
    return [seed for seed in range(1, len(used) + 4) if seed not in used][:3]
