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

from fuxictr_qnn.layers import NEURON_FORMATS
from fuxictr_qnn.reporting.entries import Entry, entries_by_data
from fuxictr_qnn.reporting.published import load_published
from fuxictr_qnn.reporting.results import plus_minus
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.runs.finding import find_runs

CODE_ONLY = range(26, 31)  # T26 to T30 are in the released code, not in the paper


def published_aucs() -> dict[str, tuple[float, float]]:
    """Format as the paper numbers it -> AUC on Criteo's test data, post-ReLU and without; T17 is T17_code."""
    found = defaultdict(dict)
    for figure in load_published().figures:
        if figure.model == "QNN" and figure.source == "qnn_logs":
            name = figure.variant["neuron_type"].removesuffix("_code")
            found[name][figure.variant["hidden_activations"] is not None] = figure.values["AUC"]
    return {name: (both[True], both[False]) for name, both in found.items()}


PUBLISHED = published_aucs()
PAPER = [name for name in PUBLISHED if int(name[1:]) not in CODE_ONLY]


def by_format(entries: list[Entry]) -> dict[tuple[str, bool], Entry]:
    """(format, whether with post-activation) -> its runs."""
    found: dict[tuple[str, bool], Entry] = {}
    for entry in entries:
        key = entry.settings["neuron_type"], entry.settings["hidden_activations"] is not None
        if key in found:
            raise SystemExit(f"two settings of one format: {found[key].label} and {entry.label}")
        found[key] = entry
    return found


def pairs_table(found: dict[tuple[str, bool], Entry], seed: int) -> tuple[str, list[tuple[float, float]]]:
    """A row a format: test AUC of one seed with and without post-activation; and the pairs themselves."""
    rows, pairs = [], []
    for name, form in NEURON_FORMATS.items():
        entries = [found[name, act] for act in (True, False) if (name, act) in found]
        both = [run for entry in entries for run in entry.runs if run.seed == seed]
        if len(both) < 2:
            continue
        aucs = [run.record.test["AUC"] for run in both]
        if name in PAPER:
            pairs.append((aucs[0], aucs[1]))
        published = PUBLISHED.get(name)
        rows.append(
            [
                f"{name}: {form.formula}".replace("|", "‖"),
                *(f"{auc:.5f}" for auc in aucs),
                f"{1e4 * (aucs[1] - aucs[0]):+.1f}",
                ", ".join(str(run.record.epochs) for run in both),
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


def seeds_table(found: dict[tuple[str, bool], Entry]) -> str:
    """Formats with several seeds, best first: mean and standard deviation."""
    several = [(key, entry) for key, entry in found.items() if len(entry.runs) > 2]
    several.sort(key=lambda item: -item[1].spread("test", "AUC").mean)
    rows = [
        [
            name,
            "ReLU" if activated else "none",
            ", ".join(map(str, entry.seeds)),
            *(plus_minus(entry.spread(split, "AUC")) for split in ("valid", "test")),
            plus_minus(entry.spread("test", "logloss")),
            f"{entry.record.parameters:,}",
            ", ".join(f"{run.seconds_per_epoch:.1f}" for run in entry.runs),
        ]
        for (name, activated), entry in several
    ]
    header = ["format", "post-activation", "seeds", "valid AUC", "test AUC", "test logloss", "parameters"]
    return markdown([*header, "s an epoch"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="root of the run folders")
    parser.add_argument("--seed", type=int, default=2024, help="of the table of pairs")
    arguments = parser.parse_args()
    runs = [run for run in find_runs([arguments.runs]).runs if run.record.expid == "QNN_frappe"]
    ((_, entries),) = entries_by_data(runs).items()
    found = by_format(entries)
    table, pairs = pairs_table(found, arguments.seed)
    print(table, "", sep="\n")
    print(sign_test(pairs, f"Frappe, seed {arguments.seed}"))
    print(sign_test([PUBLISHED[name] for name in PAPER], "Criteo, published"), "", sep="\n")
    print(seeds_table(found))


if __name__ == "__main__":
    main()
