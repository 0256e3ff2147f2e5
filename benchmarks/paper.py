"""The paper's ablation, compatibility table and sweep over M on ML-1M and Frappe, and its own figures.

    python -m benchmarks.paper --data-root data [--out paper] [--workers 2] [--datasets ml1m]

Settings are those of the model zoo: for QNN-alpha and its hybrids the released ones, for backbones starting
points that nobody tuned. One seed; what differences it can show stands below the table, by the standard
deviation sd of test AUC over seeds that the schedule study has (`--sd`), pooled over three models of three
seeds: t has 6 degrees of freedom. Runs of two models that do not differ are less than t(97.5 %) sqrt(2) sd
apart in 95 % of the cases; those of two models that differ by (t(97.5 %) + t(80 %)) sqrt(2) sd are further
apart than that in about 80 %. Each difference by itself: of many, some are further apart by chance. Runs that
are complete are kept. Published figures with a "≈" were read off a plot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from benchmarks.study import do, make_job, run_of, study_parser
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.jobs import Job
from fuxictr_qnn.reporting.published import Figure, Published, load_published
from fuxictr_qnn.reporting.reproduced import figure_beside
from fuxictr_qnn.reporting.table import markdown

SEED = 2024
DEGREES_OF_FREEDOM = 6  # of --sd: three models of three seeds
SE = ("self_ensemble=true",)
TABLES: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {  # table -> row -> model, changed keys
    "ablation": {
        "full": ("QNNalpha", ()),
        "w/o Res": ("QNNalpha", ("residual=false",)),
        "w/o Mid Act": ("QNNalpha", ("activation=none",)),
        "w/o KRP": ("QNNalpha", ("khatri_rao=false",)),
        "w/o SE Loss": ("QNNalpha", ("self_ensemble=false",)),
    },
    "compatibility": {
        name: row
        for backbone in ("DNN", "xDeepFM", "DeepFM", "DCNv2")
        for name, row in {
            backbone: (backbone, ()),
            f"{backbone} + SE": (backbone, SE),
            "QNNalpha" if backbone == "DNN" else f"QNNalpha_{backbone}": (
                "QNNalpha" if backbone == "DNN" else f"QNNalpha_{backbone}",
                (),
            ),
        }.items()
    },
    "rows": {f"M = {count}": ("QNNalpha", (f"num_row={count}",)) for count in (1, 3, 5, 10, 20)},
}
PLACES = {"ablation": "table 4", "compatibility": "table 5"}  # other tables of the paper contradict them


@dataclass(frozen=True)
class Row:
    table: str
    name: str
    job: Job


def rows(dataset: str, places: Places, out: Path) -> list[Row]:
    """All rows of the tables on one dataset."""
    return [
        Row(table, name, make_job(f"{model}_{dataset}", changes, SEED, places, out))
        for table, entries in TABLES.items()
        for name, (model, changes) in entries.items()
    ]


def published(row: Row) -> Figure | None:
    """The figure of this model with these settings."""
    experiment = row.job.experiment
    dataset, model, params = experiment.dataset.dataset_id, experiment.model, experiment.model_params
    if row.table == "rows":  # the curve over M alone: figure_beside would take the tuned figure for every M
        wanted = dataset, model, {"num_row": params["num_row"]}
        figures = load_published().figures
        return next((each for each in figures if (each.dataset, each.model, each.variant) == wanted), None)
    settings = {**params, **experiment.fit.model_dump(), **experiment.features.model_dump()}
    whole, place = load_published(), PLACES[row.table]
    own = [each for each in whole.tables if (each.source, each.place) == ("qnn_paper", place)]
    own = Published(sources=whole.sources, data=whole.data, tables=own)
    return figure_beside(dataset, experiment.expid, model, settings, own)


def cell(figure: Figure | None, metric: str) -> str:
    """A published figure, "≈" where it was read off a plot."""
    if figure is None or metric not in figure.values:
        return "–"
    value = figure.values[metric]
    return f"≈ {value}" if metric in figure.read_off else f"{value:.4f}"


def table(found: Sequence[Row]) -> str:
    """A row a run, with its difference to the first row of its table."""
    lines, first = [], None
    for row in found:
        run, figure = run_of(row.job), published(row)
        auc = run.record.test["AUC"] if run else None
        first = auc if row is found[0] else first
        lines.append(
            [
                row.name,
                f"{run.record.valid['AUC']:.5f}" if run else "–",
                f"{auc:.5f}" if run else "–",
                f"{run.record.test['logloss']:.5f}" if run else "–",
                f"{1e4 * (auc - first):+.1f}" if run and first is not None and row is not found[0] else "",
                cell(figure, "AUC"),
                cell(figure, "logloss"),
                f"{run.record.parameters:,}" if run else "–",
                f"{run.seconds_per_epoch:.1f}" if run and run.seconds_per_epoch else "–",
            ]
        )
    differs = f"AUC - {found[0].name}'s x 1e-4"
    headings = [
        "",
        "valid AUC",
        "test AUC",
        "test logloss",
        differs,
        "published AUC",
        "logloss",
        "parameters",
    ]
    return markdown([*headings, "s / epoch"], lines)


def main() -> None:
    parser = study_parser(__doc__, "paper")
    parser.add_argument("--sd", type=float, help="standard deviation of test AUC over seeds")
    args = parser.parse_args()
    places = Places(args.data_root, args.build_dir)
    by_dataset = {dataset: rows(dataset, places, args.out) for dataset in args.datasets}
    if not args.table_only:
        jobs = {
            (row.job.experiment.expid, row.job.experiment.digest): row.job
            for found in by_dataset.values()
            for row in found
        }
        do(jobs.values(), args.workers)
    for dataset, found in by_dataset.items():
        for name in TABLES:
            print(f"\n## {dataset}: {name}\n\n{table([row for row in found if row.table == name])}")
    if args.sd:
        reach = stats.t.ppf([0.975, 0.8], DEGREES_OF_FREEDOM) * math.sqrt(2) * args.sd
        chance, power = reach[0], reach.sum()
        print(
            f"\nSeed {SEED} alone: differences below {chance:.5f} AUC say nothing; one of {power:.5f} would "
            "show with a chance of 80 %."
        )


if __name__ == "__main__":
    main()
