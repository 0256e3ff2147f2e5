"""The tables of model_zoo/QIN/README.md: QIN against its rivals and its own ablations.

fuxictr run --expid QIN_planted DIN_planted ... --seed 1 2 3 4 5     # see the README for all expids
python -m benchmarks.histories runs planted_interest
python -m benchmarks.histories runs ml1m_next

Differences are to QIN at the same embedding size: mean over the seeds, and the 95 % interval of a
paired bootstrap over the users (all rows of a user are drawn together, the same users for each
model and seed), so that it holds for other users, at these trained weights.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fuxictr_qnn.reporting.bootstrap import REPEATS, GroupScores, RankedScores, interval, resample
from fuxictr_qnn.reporting.entries import Entry, entries_by_data
from fuxictr_qnn.reporting.results import plus_minus
from fuxictr_qnn.reporting.statistics import Spread
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.metrics import gauc

BASELINE = "QIN"
METRICS = {"auc": RankedScores, "gauc": GroupScores}


def resampled(groups: dict[str, Sequence[Scores]], repeats: int) -> dict[str, dict[str, np.ndarray]]:
    """metric -> group -> mean over its runs, of the data as it is and of each draw of its users."""
    runs = [scores for group in groups.values() for scores in group]
    users = [np.unique(scores.group, return_inverse=True)[1] for scores in runs]
    means = {}
    for metric, ranked in METRICS.items():
        pairs = zip(runs, users, strict=True)
        models = [ranked(scores.y_true, scores.y_pred, user) for scores, user in pairs]
        values = iter(resample(models, int(users[0].max()) + 1, repeats))
        means[metric] = {
            name: np.mean([next(values) for _ in group], axis=0) for name, group in groups.items()
        }
    return means


def gap(means: dict[str, np.ndarray], name: str) -> str:
    """A group's difference to the baseline, with its interval, in 1e-4."""
    if name == BASELINE or BASELINE not in means:
        return ""
    draws = 1e4 * (means[name] - means[BASELINE])
    low, high = interval(draws)
    return f"{draws[0]:+.0f} [{low:+.0f}, {high:+.0f}]"


def label_of(entry: Entry) -> str:
    """`QIN_ml1mnext_softmax` -> `QIN softmax`."""
    model, _, variant = entry.record.expid.partition("_")
    return f"{model} {variant.partition('_')[2]}".strip()


def table(entries: list[Entry], repeats: int) -> str:
    """A row a model at one embedding size, the baseline first."""
    named = {label_of(entry): entry for entry in entries}
    if len(named) < len(entries):
        raise SystemExit(f"several settings of one model: {', '.join(entry.label for entry in entries)}")
    groups = {name: [run.scores() for run in entry.runs] for name, entry in named.items()}
    means = resampled(groups, repeats)
    rows = []
    for name in sorted(named, key=lambda n: (n != BASELINE, n)):
        entry = named[name]
        rows.append(
            [
                name,
                ", ".join(map(str, entry.seeds)),
                plus_minus(entry.spread("valid", "AUC"), 4),
                plus_minus(entry.spread("test", "AUC"), 4),
                gap(means["auc"], name),
                plus_minus(Spread.of([gauc(s.y_true, s.y_pred, s.group) for s in groups[name]]), 4),
                gap(means["gauc"], name),
                plus_minus(entry.spread("test", "logloss"), 4),
                f"{entry.record.parameters:,}",
                ", ".join(str(round(run.record.seconds["train"])) for run in entry.runs),
            ]
        )
    header = ["model", "seeds", "valid AUC", "test AUC", "to QIN, 1e-4", "test gAUC", "to QIN, 1e-4"]
    return markdown([*header, "test logloss", "parameters", "train s"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("dataset", help="dataset_id of the runs to compare")
    parser.add_argument("--bootstrap", type=int, default=REPEATS, help="repeats of the bootstrap")
    arguments = parser.parse_args()
    by_dim = defaultdict(list)
    for (dataset_id, _), entries in entries_by_data(find_runs([arguments.runs]).runs).items():
        for entry in entries if dataset_id == arguments.dataset else ():
            by_dim[entry.settings["embedding_dim"]].append(entry)
    for dim, entries in sorted(by_dim.items()):
        print(f"Embedding size {dim}:\n\n{table(entries, arguments.bootstrap)}\n")


if __name__ == "__main__":
    main()
