"""The table and the picture of model_zoo/QNNalpha/README.md, from run folders.

fuxictr run --expid QNNalpha_ml1m QNNalpha_ml1m_patient QNNalpha_frappe QNNalpha_frappe_patient --seeds 3
python -m benchmarks.recipes runs --picture model_zoo/QNNalpha/schedules.png
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from benchmarks.run_folders import Run, load_runs, markdown, spread

HEADER = ["expid", "seeds", "valid AUC", "test AUC", "test logloss", "first cut", "epochs", "train s"]


def first_cut(history: list[dict]) -> str:
    return next((str(record["epoch"]) for record in history if record["lr_cut"]), "none")


def row(expid: str, found: list[Run]) -> list[str]:
    metrics = [run.metrics for run in found]
    return [
        f"`{expid}`",
        ", ".join(str(m["seed"]) for m in metrics),
        spread([m["valid"]["AUC"] for m in metrics], 5),
        spread([m["test"]["AUC"] for m in metrics], 5),
        spread([m["test"]["logloss"] for m in metrics], 5),
        ", ".join(first_cut(run.history) for run in found),
        ", ".join(str(m["epochs"]) for m in metrics),
        ", ".join(str(round(m["seconds"]["train"])) for m in metrics),
    ]


def draw(runs: dict[str, list[Run]], picture: Path) -> None:
    """Validation AUC against epochs, a panel a dataset; dots mark learning-rate cuts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    datasets = sorted({found[0].metrics["dataset_id"] for found in runs.values()}, reverse=True)
    figure, axes = plt.subplots(1, len(datasets), figsize=(5.5 * len(datasets), 3.8), squeeze=False)
    for axis, dataset in zip(axes[0], datasets, strict=True):
        of_dataset = {e: found for e, found in runs.items() if found[0].metrics["dataset_id"] == dataset}
        best = max(record["AUC"] for found in of_dataset.values() for run in found for record in run.history)
        for colour, (expid, found) in zip(
            ("#c1572b", "#2b6ca3", "#3d8b50"), of_dataset.items(), strict=False
        ):
            for number, run in enumerate(found):
                epochs = [record["epoch"] for record in run.history]
                values = [record["AUC"] for record in run.history]
                label = expid if number == 0 else None
                axis.plot(epochs, values, color=colour, alpha=0.75, linewidth=1.5, label=label)
                cuts = [
                    (e, v)
                    for e, v, record in zip(epochs, values, run.history, strict=True)
                    if record["lr_cut"]
                ]
                axis.scatter(*zip(*cuts, strict=True), color=colour, s=22, zorder=3)
        axis.set(title=dataset, xlabel="epoch", ylim=(best - 0.03, best + 0.002))
        axis.set_ylabel("validation AUC")
        axis.grid(alpha=0.25)
        axis.legend(loc="lower right", frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("One line a seed; dots: the learning rate is cut after this epoch", fontsize=10)
    figure.tight_layout()
    figure.savefig(picture, dpi=130, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("--picture", type=Path, help="also draw the training curves to this file")
    arguments = parser.parse_args()
    runs = defaultdict(list)
    for run in load_runs(arguments.runs):
        runs[run.expid].append(run)
    print(markdown(HEADER, [row(expid, found) for expid, found in runs.items()]))
    if arguments.picture:
        draw(runs, arguments.picture)


if __name__ == "__main__":
    main()
