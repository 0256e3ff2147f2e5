"""The tables of model_zoo/QIN/README.md: QIN against its rivals and its own ablations.

fuxictr run --expid QIN_planted DIN_planted ... --seeds 5     # see the README for all expids
python -m benchmarks.histories runs planted_interest
python -m benchmarks.histories runs ml1m_next

Differences are to QIN at the same embedding size: mean over the seeds, and the 95 % interval of a
paired bootstrap over the users (all rows of a user are drawn together, the same users for each
model and seed), so that it holds for other users, at these trained weights.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.run_folders import Run, load_runs, markdown, require_one_each, spread
from fuxictr_qnn.training.metrics import group_auc

BASELINE = "QIN"


@dataclass
class Scored:
    """The test scores of one run, ready for AUC and gAUC with the users weighted.

    Everything that does not depend on the weights (the order of the scores, the ties) is found once:
    a repeat of the bootstrap takes two lookups and a running sum.
    """

    negatives: np.ndarray  # users of the negative rows, by rising score
    positives: np.ndarray  # users of the positive rows
    below: np.ndarray  # for each positive row, how many negative rows have a lower score
    not_above: np.ndarray  # and how many have no higher one
    user_auc: np.ndarray  # NaN where a user has one class only
    user_rows: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Scored:
        table = pl.read_parquet(folder / "test_scores.parquet")
        label, score = table["y_true"].to_numpy() > 0.5, table["y_pred"].to_numpy()
        return cls.of(label, score, table["group"].to_numpy())

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray, group: np.ndarray) -> Scored:
        user = np.unique(group, return_inverse=True)[1]
        order = np.argsort(score[~label])
        sides = [np.searchsorted(score[~label][order], score[label], side) for side in ("left", "right")]
        return cls(user[~label][order], user[label], *sides, *group_auc(label.astype(float), score, user))

    def auc(self, times: np.ndarray) -> float:
        """AUC over all rows, the rows of user u counted times[u] times; ties count half."""
        negative = np.r_[0.0, np.cumsum(times[self.negatives], dtype=float)]
        positive = times[self.positives].astype(float)
        below = (negative[self.below] + negative[self.not_above]) / 2
        return float(positive @ below / (positive.sum() * negative[-1]))

    def gauc(self, times: np.ndarray) -> float:
        """The users' AUCs, weighted by their rows."""
        weight = np.where(np.isnan(self.user_auc), 0.0, times * self.user_rows)
        return float(weight @ np.nan_to_num(self.user_auc) / weight.sum())


def differences(
    groups: dict[str, list[Scored]], baseline: str, repeats: int
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """group -> metric -> (difference to the baseline, and its 95 % interval)."""
    users = len(groups[baseline][0].user_rows)
    rng = np.random.default_rng(2019)
    draws = [np.ones(users)]  # the first is the data as it is
    draws += [np.bincount(rng.integers(users, size=users), minlength=users) for _ in range(repeats)]
    means = {
        metric: {
            name: np.array([np.mean([getattr(s, metric)(times) for s in scored]) for times in draws])
            for name, scored in groups.items()
        }
        for metric in ("auc", "gauc")
    }
    return {
        name: {metric: _interval(of[name] - of[baseline]) for metric, of in means.items()} for name in groups
    }


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def label_of(run: Run) -> str:
    """`QIN_ml1mnext_softmax` -> `QIN softmax`."""
    model, _, variant = run.expid.partition("_")
    return f"{model} {variant.partition('_')[2]}".strip()


def table(runs: list[Run], repeats: int) -> str:
    """A row a model at one embedding size, the baseline first."""
    by_label = defaultdict(list)
    for run in runs:
        by_label[label_of(run)].append(run)
    for name, found in by_label.items():
        require_one_each(found, name)
    groups = {name: [Scored.read(run.folder) for run in found] for name, found in by_label.items()}
    gaps = differences(groups, BASELINE, repeats) if BASELINE in groups else {}
    ones = np.ones(max(len(scored[0].user_rows) for scored in groups.values()))
    rows = []
    for name in sorted(groups, key=lambda n: (n != BASELINE, n)):
        found, scored = by_label[name], groups[name]
        rows.append(
            [
                name,
                ", ".join(str(run.seed) for run in found),
                spread([run.metrics["valid"]["AUC"] for run in found], 4),
                spread([run.metrics["test"]["AUC"] for run in found], 4),
                _gap(gaps, name, "auc"),
                spread([s.gauc(ones) for s in scored], 4),
                _gap(gaps, name, "gauc"),
                spread([run.metrics["test"]["logloss"] for run in found], 4),
                f"{found[0].metrics['parameters']:,}",
                ", ".join(str(round(run.metrics["seconds"]["train"])) for run in found),
            ]
        )
    header = ["model", "seeds", "valid AUC", "test AUC", "to QIN, 1e-4", "test gAUC", "to QIN, 1e-4"]
    return markdown([*header, "test logloss", "parameters", "train s"], rows)


def _gap(gaps: dict, name: str, metric: str) -> str:
    if name == BASELINE or name not in gaps:
        return ""
    value, low, high = (1e4 * number for number in gaps[name][metric])
    return f"{value:+.0f} [{low:+.0f}, {high:+.0f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("dataset", help="dataset_id of the runs to compare")
    parser.add_argument("--bootstrap", type=int, default=1000, help="repeats of the bootstrap")
    arguments = parser.parse_args()
    by_dim = defaultdict(list)
    for run in load_runs(arguments.runs):
        if run.metrics["dataset_id"] == arguments.dataset:
            by_dim[run.params["embedding_dim"]].append(run)
    for dim, runs in sorted(by_dim.items()):
        print(f"Embedding size {dim}:\n\n{table(runs, arguments.bootstrap)}\n")


if __name__ == "__main__":
    main()
