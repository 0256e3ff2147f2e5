"""The tables of model_zoo/QNN/README.md: every neuron format with and without post-activation.

for t in $(seq 1 26); do for act in null ReLU; do
    fuxictr run --expid QNN_frappe --set neuron_type=T$t --set hidden_activations=$act
done; done
for t in 1 5 9 10 19 22 26; do fuxictr run --expid QNN_frappe --set neuron_type=T$t --seeds 3; done
python -m benchmarks.neuron_formats runs
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from scipy.stats import binomtest

from benchmarks.run_folders import Run, load_runs, markdown, require_one_each, spread
from fuxictr_qnn.layers import NEURON_FORMATS

# AUC on Criteo's test data, post-ReLU and without: KDD 2025, table 1, to the digits of the released logs.
PUBLISHED = {
    "T1": (0.812785, 0.813664),
    "T2": (0.813276, 0.813046),
    "T3": (0.812164, 0.812611),
    "T4": (0.813946, 0.814074),
    "T5": (0.813873, 0.813674),
    "T6": (0.812896, 0.812233),
    "T7": (0.812827, 0.812439),
    "T8": (0.813735, 0.813741),
    "T9": (0.815145, 0.815332),
    "T10": (0.813863, 0.814970),
    "T11": (0.813846, 0.814368),
    "T12": (0.813992, 0.813523),
    "T13": (0.813510, 0.813915),
    "T14": (0.813424, 0.814162),
    "T15": (0.814242, 0.814375),
    "T16": (0.814342, 0.814761),
    "T17": (0.813468, 0.814985),
    "T18": (0.812735, 0.813315),
    "T19": (0.814613, 0.815595),
    "T20": (0.813403, 0.812571),
    "T21": (0.813669, 0.814038),
    "T22": (0.815081, 0.815330),
    "T23": (0.814228, 0.814119),
    "T24": (0.814239, 0.814166),
    "T25": (0.814309, 0.814664),
    "T26": (0.814778, 0.815667),
}
PAPER = [name for name in PUBLISHED if name != "T26"]  # T26 is in the released code only


def by_format(runs: list[Run]) -> dict[tuple[str, bool], list[Run]]:
    """(format, whether with post-activation) -> its runs, by seed."""
    found = defaultdict(list)
    for run in runs:
        found[run.params["neuron_type"], run.params["hidden_activations"] is not None].append(run)
    for (name, activated), of_format in found.items():
        require_one_each(of_format, f"{name} {'with' if activated else 'without'} post-activation")
    return found


def pairs_table(found: dict[tuple[str, bool], list[Run]], seed: int) -> tuple[str, list[tuple[float, float]]]:
    """A row a format: test AUC of one seed with and without post-activation; and the pairs themselves."""
    rows, pairs = [], []
    for name, form in NEURON_FORMATS.items():
        both = [[run for run in found[name, act] if run.seed == seed] for act in (True, False)]
        if not all(both):
            continue
        (relu,), (none,) = both
        aucs = [run.metrics["test"]["AUC"] for run in (relu, none)]
        if name in PAPER:
            pairs.append((aucs[0], aucs[1]))
        published = PUBLISHED.get(name)
        rows.append(
            [
                f"{name}: {form.formula}".replace("|", "‖"),
                *(f"{auc:.5f}" for auc in aucs),
                f"{1e4 * (aucs[1] - aucs[0]):+.1f}",
                ", ".join(str(run.metrics["epochs"]) for run in (relu, none)),
                *(f"{auc:.4f}" for auc in published or ()),
                f"{1e4 * (published[1] - published[0]):+.1f}" if published else "",
            ]
        )
    header = ["format", "ReLU", "none", "gain, 1e-4", "epochs", "Criteo ReLU", "none", "gain, 1e-4"]
    return markdown(header, [row + [""] * (len(header) - len(row)) for row in rows]), pairs


def sign_test(pairs: list[tuple[float, float]], source: str) -> str:
    """How often leaving the post-activation out is better, and how likely that is by chance.

    As in the paper, AUCs that agree to 0.01 % are equal; the test leaves them out.
    """
    steps = [round(none, 4) - round(relu, 4) for relu, none in pairs]
    better, worse = sum(step > 0 for step in steps), sum(step < 0 for step in steps)
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return (
        f"{source}: of {len(steps)} formats {better} are better without post-activation, {worse} worse, "
        f"{len(steps) - better - worse} equal to 0.01 %; two-sided sign test p = {p:.3f}"
    )


def seeds_table(found: dict[tuple[str, bool], list[Run]]) -> str:
    """Formats with several seeds, best first: mean and standard deviation."""
    several = [(key, runs) for key, runs in found.items() if len(runs) > 2]
    several.sort(key=lambda item: -sum(run.metrics["test"]["AUC"] for run in item[1]) / len(item[1]))
    rows = [
        [
            name,
            "ReLU" if activated else "none",
            ", ".join(str(run.seed) for run in runs),
            *(spread([run.metrics[split]["AUC"] for run in runs], 5) for split in ("valid", "test")),
            spread([run.metrics["test"]["logloss"] for run in runs], 5),
            f"{runs[0].metrics['parameters']:,}",
            ", ".join(f"{run.metrics['seconds']['train'] / run.metrics['epochs']:.1f}" for run in runs),
        ]
        for (name, activated), runs in several
    ]
    header = ["format", "post-activation", "seeds", "valid AUC", "test AUC", "test logloss", "parameters"]
    return markdown([*header, "s an epoch"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("--seed", type=int, default=2024, help="of the table of pairs")
    arguments = parser.parse_args()
    found = by_format(load_runs(arguments.runs, "QNN_frappe"))
    table, pairs = pairs_table(found, arguments.seed)
    print(table, "", sep="\n")
    print(sign_test(pairs, f"Frappe, seed {arguments.seed}"))
    print(sign_test([PUBLISHED[name] for name in PAPER], "Criteo, published"), "", sep="\n")
    print(seeds_table(found))


if __name__ == "__main__":
    main()
