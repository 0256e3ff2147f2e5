"""The protocol's comparison of the entries of one table: docs/comparing.md.

Two families of tests, each corrected for its own number: every tested entry against the comparator (the
table's differences), and the entry with the best mean test AUC against every other (which rows tie with it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.reporting.bootstrap import REPEATS, RankedScores, interval, resample
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS
from fuxictr_qnn.reporting.statistics import (
    Welch,
    detectable_difference,
    holm,
    is_better,
    pooled_sd,
    welch,
)
from fuxictr_qnn.reporting.users import Users
from fuxictr_qnn.runs.run import Run

NAMED = 5  # entries that a note names
UNDECIDED = "Without a bootstrap over the rows nothing is called better, worse or a tie"


@dataclass(frozen=True)
class Difference:
    """The mean test AUC of an entry less that of another.

    Attributes:
        seeds: Welch's test over the seeds.
        p: its p value, corrected by Holm over the family.
        rows: 95 % bootstrap interval over the rows; None where test scores are missing.
        verdict: "better", "worse" or "tie"; "undecided" without the interval over the rows.
    """

    value: float
    seeds: Welch
    p: float
    rows: tuple[float, float] | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """What is known about the entries of one table.

    Attributes:
        entries: best mean test AUC first; published recipes and what has no test AUC after all others, the
            best mean validation AUC first.
        comparator: None where no entry was trained on enough seeds.
        untested: why nothing is tested, as the end of a sentence; None where something is.
        differences: label -> difference to the comparator, for every other tested entry.
        best: labels of the entry with the best mean test AUC and of all that neither it nor the comparator is
            better than; none where that is undecided.
        detectable: number of seeds -> the smallest difference that a test of two models with so many seeds
            each shows, for each number that a tested entry shares with the comparator.
        clusters: what the bootstrap drew: "rows" or "users"; None where it was not made.
        notes: sentences about what could not be compared.
    """

    entries: list[Entry]
    comparator: Entry | None = None
    differences: dict[str, Difference] = field(default_factory=dict)
    best: frozenset[str] = frozenset()
    untested: str | None = None
    detectable: dict[int, float] = field(default_factory=dict)
    clusters: str | None = None
    notes: list[str] = field(default_factory=list)


def compare_entries(
    entries: Sequence[Entry],
    comparator: str | None = None,
    *,
    significance: bool = False,
    repeats: int = REPEATS,
    users_of: Callable[[Sequence[Run]], Users] = lambda runs: Users(),
) -> Comparison:
    """Compare entries on the same data.

    Args:
        comparator: label or expid; None: `fixed_comparator`, else by `choose_comparator`.
        significance: refuse entries with too few seeds for a test; else they are left out of the tests.
        repeats: of the bootstrap.
        users_of: the users of the test rows that these runs share, where their scores name no groups.

    Raises:
        RequestError: an unknown comparator; with `significance`, every entry with too few seeds.
    """
    ranked = sorted(entries, key=_rank)
    tested = [entry for entry in ranked if not entry.recipe and _seeds_tested(entry) >= LEAST_SEEDS]
    if significance and (problems := _too_few(ranked)):
        raise RequestError(problems)
    fixed = fixed_comparator(ranked)
    if comparator:
        chosen = _find(ranked, comparator)
    elif fixed:
        chosen = next((entry for entry in ranked if entry.label == fixed), None)
    else:
        chosen = choose_comparator(tested)
    notes = list(_untested([entry for entry in ranked if entry not in tested and not entry.recipe]))
    if why := _why_untested(chosen, tested, fixed):
        return Comparison(ranked, chosen, untested=why, notes=notes)
    found = _resampled(tested, repeats, users_of)
    notes += found.notes
    aucs = found.aucs
    others = [entry for entry in tested if entry is not chosen]
    against = _differences([(entry, chosen) for entry in others], aucs)
    ties = _differences([(tested[0], entry) for entry in tested[1:]], aucs)
    behind = {entry.label for entry, gap in zip(tested[1:], ties, strict=True) if gap.verdict == "better"}
    behind |= {entry.label for entry, gap in zip(others, against, strict=True) if gap.verdict == "worse"}
    sd = pooled_sd([entry.values("test", "AUC") for entry in tested])
    shared = sorted({min(_seeds_tested(entry), _seeds_tested(chosen)) for entry in others})
    return Comparison(
        ranked,
        chosen,
        dict(zip((entry.label for entry in others), against, strict=True)),
        frozenset(entry.label for entry in tested if aucs) - behind,
        detectable={seeds: detectable_difference(sd, seeds, tests=len(others)) for seeds in shared},
        clusters=found.clusters,
        notes=notes,
    )


def fixed_comparator(entries: Sequence[Entry]) -> str | None:
    """The label that the comparison which all entries are of fixed before it read the test split."""
    roles = [entry.role for entry in entries]
    if None in roles or len({role.comparison for role in roles}) != 1:
        return None
    return roles[0].comparator


def choose_comparator(entries: Sequence[Entry]) -> Entry | None:
    """The baseline with the best mean validation AUC; where there is no baseline, of all entries."""
    known = [entry for entry in entries if not entry.recipe and entry.values("valid", "AUC")]
    baselines = [entry for entry in known if entry.is_baseline] or known
    return max(baselines, key=lambda entry: entry.spread("valid", "AUC").mean, default=None)


def _rank(entry: Entry) -> tuple[bool, float, float]:
    test, valid = (entry.spread(split, "AUC") for split in ("test", "valid"))
    return entry.recipe, *(-spread.mean if spread else float("inf") for spread in (test, valid))


def _seeds_tested(entry: Entry) -> int:
    return len(entry.values("test", "AUC"))


def _too_few(entries: Sequence[Entry]) -> list[str]:
    return [
        f"{entry.label}: {_seeds_tested(entry)} seeds with a test AUC, and a significance test needs "
        f"{LEAST_SEEDS}: run more"
        for entry in entries
        if not entry.recipe and _seeds_tested(entry) < LEAST_SEEDS
    ]


def _untested(entries: Sequence[Entry]) -> Iterator[str]:
    if entries:
        names = ", ".join(entry.label for entry in entries)
        who = names if len(entries) <= NAMED else f"{len(entries)} rows with fewer"
        yield f"Outside the tests, which need {LEAST_SEEDS} seeds: {who}"


def _why_untested(chosen: Entry | None, tested: Sequence[Entry], fixed: str | None) -> str | None:
    """Why nothing can be tested against this comparator; None where something can."""
    if len(tested) < 2:
        return f"they take two models with at least {LEAST_SEEDS} seeds each"
    if chosen is None and fixed:
        return f"the comparator {fixed}, fixed before the test split was read, has no row here"
    if chosen is None:
        return "no model has a validation AUC, which chooses the comparator"
    if chosen in tested:
        return None
    if chosen.recipe:
        return f"the comparator {chosen.label} is a recipe, and stands outside the tests"
    count = _seeds_tested(chosen)
    why = (
        f"the comparator {chosen.label} has only {count} seed{'s' * (count != 1)} with a test AUC, and tests "
        f"need {LEAST_SEEDS}"
    )
    tried = sorted({*chosen.seeds, *chosen.failed})
    if tried == list(range(1, len(tried) + 1)):  # as `compare` numbers them
        wanted = len(tried) + LEAST_SEEDS - count
        why += f"; --seeds {wanted} gives every model the seeds 1 to {wanted}"
    return why


def _find(entries: Sequence[Entry], name: str) -> Entry:
    """The entry of a label, or the only one of an expid."""
    found = [entry for entry in entries if entry.label == name]
    found = found or [entry for entry in entries if entry.record.expid == name]
    if len(found) == 1:
        return found[0]
    labels = [entry.label for entry in entries]
    problem = "several rows have this expid" if found else "no row has this name"
    raise RequestError(
        f"comparator '{name}': {problem}; the rows are {', '.join(labels)}.{nearest(name, labels)}"
    )


@dataclass(frozen=True)
class _Resampled:
    """The bootstrap over the rows.

    Attributes:
        aucs: label -> mean AUC of its seeds, first on the data, then on each resample of its rows or users;
            None where there is no bootstrap.
        clusters: "rows" or "users".
        notes: sentences.
    """

    aucs: dict[str, np.ndarray] | None = None
    clusters: str | None = None
    notes: tuple[str, ...] = ()


def _resampled(
    entries: Sequence[Entry], repeats: int, users_of: Callable[[Sequence[Run]], Users]
) -> _Resampled:
    """The bootstrap over the rows of the users, or why there is none."""
    runs = [run for entry in entries for run in entry.runs if "AUC" in run.record.test]
    shared = _shared(runs)
    if isinstance(shared, str):
        return _Resampled(notes=(f"{UNDECIDED}: {shared}",))
    labels, clusters = shared
    users = Users(clusters) if clusters is not None else users_of(runs)
    clusters = users.numbers
    if clusters is not None and len(clusters) != len(labels):
        why = f"{len(labels):,} test rows have scores, and the users of {len(clusters):,} are known"
        return _Resampled(notes=(f"{UNDECIDED}: {why}",))
    models = [RankedScores(labels, run.scores().y_pred, clusters) for run in runs]
    count = len(labels) if clusters is None else int(clusters.max()) + 1
    values = iter(resample(models, count, repeats))
    aucs = {e.label: np.mean([next(values) for _ in range(_seeds_tested(e))], axis=0) for e in entries}
    return _Resampled(aucs, "rows" if clusters is None else "users", (users.note,) if users.note else ())


def _shared(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray | None] | str:
    """The test labels of all runs and the number of each row's user, or why they share none.

    A run whose config names no users has the same rows, and those of the other runs are its users, too.
    """
    labels = users = None
    for run in runs:
        scores = run.scores()
        if scores is None:
            return f"'{run.folder}' has no test_scores.parquet"
        labels = scores.y_true if labels is None else labels
        if not np.array_equal(scores.y_true, labels):
            return f"the test labels of '{run.folder}' are others"
        if scores.group is None:
            continue
        found = np.unique(scores.group, return_inverse=True)[1]
        users = found if users is None else users
        if not np.array_equal(found, users):
            return f"the users of the test rows of '{run.folder}' are others"
    return labels, users


def _differences(
    pairs: Sequence[tuple[Entry, Entry]], aucs: dict[str, np.ndarray] | None
) -> list[Difference]:
    """The difference of each pair, first less second; their p values are one family."""
    tests = [welch(a.values("test", "AUC"), b.values("test", "AUC")) for a, b in pairs]
    found = []
    for (a, b), test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        rows = interval(aucs[a.label] - aucs[b.label]) if aucs else None
        found.append(Difference(test.difference, test, p, rows, _verdict(test.difference, p, rows)))
    return found


def _verdict(difference: float, p: float, rows: tuple[float, float] | None) -> str:
    if rows is None:
        return "undecided"
    if is_better(difference, p, rows):
        return "better"
    low, high = rows
    return "worse" if is_better(-difference, p, (-high, -low)) else "tie"
