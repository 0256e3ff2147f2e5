"""The table and the picture of model_zoo/QNNalpha/README.md, from run folders.

fuxictr run --expid QNNalpha_ml1m QNNalpha_ml1m_patient QNNalpha_frappe QNNalpha_frappe_patient --seeds 3
python -m benchmarks.recipes runs --picture model_zoo/QNNalpha/schedules.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fuxictr_qnn.files import write_bytes
from fuxictr_qnn.reporting.entries import Entry, entries_by_data
from fuxictr_qnn.reporting.plots import curves_by_dataset
from fuxictr_qnn.reporting.results import plus_minus
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.reporting.theme import as_png
from fuxictr_qnn.runs.finding import find_runs

HEADER = ["expid", "seeds", "valid AUC", "test AUC", "test logloss", "first cut", "epochs", "train s"]


def first_cut(history: list[dict]) -> str:
    return next((str(record["epoch"]) for record in history if record["lr_cut"]), "none")


def row(entry: Entry) -> list[str]:
    return [
        f"`{entry.label}`",
        ", ".join(map(str, entry.seeds)),
        plus_minus(entry.spread("valid", "AUC")),
        plus_minus(entry.spread("test", "AUC")),
        plus_minus(entry.spread("test", "logloss")),
        ", ".join(first_cut(run.history) for run in entry.runs),
        ", ".join(str(run.record.epochs) for run in entry.runs),
        ", ".join(str(round(run.record.seconds["train"])) for run in entry.runs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("--picture", type=Path, help="also draw the training curves to this file")
    arguments = parser.parse_args()
    tables = entries_by_data(find_runs([arguments.runs]).runs)
    print(markdown(HEADER, [row(entry) for entries in tables.values() for entry in entries]))
    if arguments.picture:
        by_dataset = {dataset_id: entries for (dataset_id, _), entries in tables.items()}
        write_bytes(arguments.picture, as_png(curves_by_dataset(by_dataset)))


if __name__ == "__main__":
    main()
