"""How much of a published difference is the schedule's: three schedules, three models, two datasets, 3 seeds.

    python -m benchmarks.schedules --data-root data [--out schedules] [--workers 2] [--datasets ml1m]

fuxictr: the rate is cut tenfold at each evaluation that does not improve, training ends at the second in a
row. patient: cut after three such evaluations, ended after two cuts. averaged: FuxiCTR's schedule on the mean
of the weights at the last three evaluations. Nothing else differs; settings are those of the model zoo. Runs
that are complete are kept, so the same command goes on after an interruption. A thread a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.recipes import first_cut
from benchmarks.study import do, make_job, run_of, study_parser
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.jobs import Job
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.reporting.results import plus_minus
from fuxictr_qnn.reporting.statistics import Spread, pooled_sd, welch
from fuxictr_qnn.reporting.table import markdown

MODELS = ("DNN", "DCNv2", "QNNalpha")
SCHEDULES = {
    "fuxictr": (),
    "patient": ("reduce_lr_patience=3", "max_lr_cuts=2"),
    "averaged": ("average_last=3",),
}
SEEDS = (2024, 2025, 2026)

Cells = Mapping[tuple[str, str], Entry]  # (model, schedule) -> its runs


def jobs(dataset: str, places: Places, out: Path) -> dict[tuple[str, str, int], Job]:
    """(model, schedule, seed) -> run; seed by seed, so that an interrupted study is complete for some."""
    return {
        (model, schedule, seed): make_job(f"{model}_{dataset}", changes, seed, places, out)
        for seed in SEEDS
        for schedule, changes in SCHEDULES.items()
        for model in MODELS
    }


def cells(todo: Mapping[tuple[str, str, int], Job]) -> Cells:
    """The complete runs."""
    found = {}
    for model in MODELS:
        for schedule in SCHEDULES:
            runs = [run_of(todo[model, schedule, seed]) for seed in SEEDS]
            if any(runs):
                found[model, schedule] = Entry(f"{model} {schedule}", tuple(run for run in runs if run))
    return found


def runs_table(found: Cells) -> str:
    """A row for each model and schedule."""
    headings = [
        "model",
        "schedule",
        "valid AUC",
        "test AUC",
        "test logloss",
        "first cut",
        "epochs",
        "best",
    ]
    rows = [
        [
            model,
            schedule,
            *(
                plus_minus(entry.spread(*what))
                for what in (("valid", "AUC"), ("test", "AUC"), ("test", "logloss"))
            ),
            ", ".join(first_cut(run.history) for run in entry.runs),
            ", ".join(str(run.record.epochs) for run in entry.runs),
            ", ".join(str(run.record.best_epoch) for run in entry.runs),
        ]
        for (model, schedule), entry in found.items()
    ]
    return markdown(headings, rows)


def test_aucs(found: Cells, model: str, schedule: str) -> list[float]:
    return found[model, schedule].values("test", "AUC") if (model, schedule) in found else []


def gaps_table(found: Cells) -> str:
    """What the schedule moves, and what the model moves, in test AUC x 1e-4 with Welch's 95 % interval."""
    rows = []
    for model in MODELS:
        for schedule in list(SCHEDULES)[1:]:
            rows.append([model, f"{schedule} - fuxictr", gap(found, (model, schedule), (model, "fuxictr"))])
    for schedule in SCHEDULES:
        for model in MODELS[:-1]:
            rows.append(
                [schedule, f"{MODELS[-1]} - {model}", gap(found, (MODELS[-1], schedule), (model, schedule))]
            )
    return markdown(["fixed", "difference", "test AUC x 1e-4 [95 %]"], rows)


def gap(found: Cells, one: tuple[str, str], other: tuple[str, str]) -> str:
    a, b = test_aucs(found, *one), test_aucs(found, *other)
    if min(len(a), len(b)) < 2:
        return "–"
    test = welch(a, b)
    return f"{1e4 * test.difference:+.1f} [{1e4 * test.low:+.1f}, {1e4 * test.high:+.1f}]"


def summary(found: Cells) -> list[str]:
    """Sentences: the spread over seeds under each schedule, and the reach of schedules and of models."""
    lines = []
    for schedule in SCHEDULES:
        sd = pooled_sd([test_aucs(found, model, schedule) for model in MODELS])
        if sd is not None:
            lines.append(f"Standard deviation of test AUC over seeds, {schedule}: {sd:.5f}")
    for what, groups in (
        ("schedules of a model", [[(model, name) for name in SCHEDULES] for model in MODELS]),
        ("models under a schedule", [[(model, name) for model in MODELS] for name in SCHEDULES]),
    ):
        means = [[Spread.of(test_aucs(found, *cell)) for cell in group] for group in groups]
        reach = [max(m.mean for m in group) - min(m.mean for m in group) for group in means if all(group)]
        if reach:
            shown = ", ".join(f"{value:.5f}" for value in reach)
            lines.append(f"Largest less smallest mean test AUC, over the {what}: {shown}")
    return lines


def main() -> None:
    args = study_parser(__doc__, "schedules").parse_args()
    places = Places(args.data_root, args.build_dir)
    by_dataset = {dataset: jobs(dataset, places, args.out) for dataset in args.datasets}
    if not args.table_only:
        do([job for todo in by_dataset.values() for job in todo.values()], args.workers)
    for dataset, todo in by_dataset.items():
        found = cells(todo)
        print(f"\n## {dataset}\n\n{runs_table(found)}\n\n{gaps_table(found)}\n")
        print("\n".join(f"- {line}" for line in summary(found)))


if __name__ == "__main__":
    main()
