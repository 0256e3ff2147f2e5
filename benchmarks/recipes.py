"""The table and the picture of model_zoo/QNNalpha/README.md, from run folders.

fuxictr run --expid QNNalpha_ml1m QNNalpha_ml1m_patient QNNalpha_frappe QNNalpha_frappe_patient --seeds 3
python benchmarks/recipes.py runs --picture model_zoo/QNNalpha/schedules.png
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

HEADER = "| expid | seeds | valid AUC | test AUC | test logloss | first cut | epochs | train s |"


def load_runs(root: Path) -> dict[str, list[tuple[dict, list[dict]]]]:
    """expid -> [(metrics.json, history)] of all complete runs below `root`, by seed."""
    runs = defaultdict(list)
    for file in sorted(root.glob("*/seed*/metrics.json")):
        lines = (file.parent / "history.jsonl").read_text().splitlines()
        metrics = json.loads(file.read_text())
        runs[metrics["expid"]].append((metrics, [json.loads(line) for line in lines]))
    return {expid: sorted(found, key=lambda run: run[0]["seed"]) for expid, found in sorted(runs.items())}


def spread(values: list[float], digits: int) -> str:
    """Mean ± sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def first_cut(history: list[dict]) -> str:
    return next((str(record["epoch"]) for record in history if record["lr_cut"]), "none")


def row(expid: str, found: list[tuple[dict, list[dict]]]) -> str:
    metrics = [run[0] for run in found]
    cells = [
        f"`{expid}`",
        ", ".join(str(m["seed"]) for m in metrics),
        spread([m["valid"]["AUC"] for m in metrics], 5),
        spread([m["test"]["AUC"] for m in metrics], 5),
        spread([m["test"]["logloss"] for m in metrics], 5),
        ", ".join(first_cut(history) for _, history in found),
        ", ".join(str(m["epochs"]) for m in metrics),
        ", ".join(str(round(m["seconds"]["train"])) for m in metrics),
    ]
    return "| " + " | ".join(cells) + " |"


def draw(runs: dict[str, list[tuple[dict, list[dict]]]], picture: Path) -> None:
    """Validation AUC against epochs, a panel a dataset; dots mark learning-rate cuts."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    datasets = sorted({found[0][0]["dataset_id"] for found in runs.values()}, reverse=True)
    figure, axes = plt.subplots(1, len(datasets), figsize=(5.5 * len(datasets), 3.8), squeeze=False)
    for axis, dataset in zip(axes[0], datasets, strict=True):
        of_dataset = {e: found for e, found in runs.items() if found[0][0]["dataset_id"] == dataset}
        best = max(record["AUC"] for found in of_dataset.values() for _, h in found for record in h)
        for colour, (expid, found) in zip(
            ("#c1572b", "#2b6ca3", "#3d8b50"), of_dataset.items(), strict=False
        ):
            for number, (_, history) in enumerate(found):
                epochs = [record["epoch"] for record in history]
                values = [record["AUC"] for record in history]
                label = expid if number == 0 else None
                axis.plot(epochs, values, color=colour, alpha=0.75, linewidth=1.5, label=label)
                cuts = [
                    (e, v) for e, v, record in zip(epochs, values, history, strict=True) if record["lr_cut"]
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
    runs = load_runs(arguments.runs)
    print(HEADER)
    print("|" + " --- |" * HEADER.count(" | ") + " --- |")
    for expid, found in runs.items():
        print(row(expid, found))
    if arguments.picture:
        draw(runs, arguments.picture)


if __name__ == "__main__":
    main()
