"""Rows of a table: the runs of one config on the same data, which differ in their seed only."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError, unknown
from fuxictr_qnn.reporting.reproduced import is_published_recipe
from fuxictr_qnn.reporting.statistics import Spread
from fuxictr_qnn.runs.run import FailedRun, Record, Run

OURS = ("QNN", "QIN")  # models of these families are proposed, whatever else is said
PUBLISHED_RECIPE = "published recipe, budget unknown"
OTHER_RECIPE = "config as it stands"


@dataclass(frozen=True)
class Role:
    """What a comparison fixed about one of its configs before it read the test split.

    Attributes:
        label: the name of its row there; None where several comparisons have several.
        comparison: the folder of the comparison; None: it is of several, or not of comparisons alone.
        comparator: the label of the row that all others are compared with there.
        recipe, proposed: as in `Entry`.
    """

    label: str | None
    comparison: Path | None = None
    comparator: str | None = None
    recipe: bool = False
    proposed: bool = False


@dataclass(frozen=True, eq=False)
class Entry:
    """One row.

    Attributes:
        label: the expid, and where several configs share it, the settings in which they differ.
        runs: by seed.
        recipe: a config as it stands, perhaps a published one: outside ranking and tests.
        failed: seeds that have no result -> why.
        proposed: somebody's own model, which is no baseline.
        role: in the comparisons that runs are of; None where there is none.
    """

    label: str
    runs: tuple[Run, ...]
    recipe: bool = False
    failed: Mapping[int, str] = field(default_factory=dict)
    proposed: bool = False
    role: Role | None = None

    @property
    def record(self) -> Record:
        """Of the first seed: for what the seeds share."""
        return self.runs[0].record

    @property
    def settings(self) -> dict[str, Any]:
        return self.runs[0].settings

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    @property
    def kind_of_recipe(self) -> str:
        """Whether its settings are published ones, for which nobody knows how many were tried."""
        published = is_published_recipe(self.record.expid, self.record.config_digest)
        return PUBLISHED_RECIPE if published else OTHER_RECIPE

    @property
    def is_baseline(self) -> bool:
        return not (self.proposed or self.record.model.startswith(OURS))

    def values(self, split: str, metric: str) -> list[float]:
        """A metric of each seed that has it; `split` is "valid" or "test"."""
        found = (getattr(run.record, split).get(metric) for run in self.runs)
        return [value for value in found if value is not None]

    def spread(self, split: str, metric: str) -> Spread | None:
        return Spread.of(self.values(split, metric))

    def mean(self, attribute: str) -> float | None:
        """The mean over the seeds of a number that a run or its record has."""
        values = [getattr(run, attribute, None) or getattr(run.record, attribute, None) for run in self.runs]
        spread = Spread.of([value for value in values if value is not None])
        return spread.mean if spread else None


def shown_split(entries: Iterable[Entry]) -> str:
    """The split whose AUC pictures show: "test", or "valid" where no run has read the test split (sweeps)."""
    return "test" if any(entry.values("test", "AUC") for entry in entries) else "valid"


AUC_OF = {"test": "test AUC", "valid": "validation AUC"}


def entries_by_data(
    runs: Iterable[Run],
    recipes: Collection[str] = (),
    failed: Collection[FailedRun] = (),
    role_of: Callable[[Run], Role | None] = lambda run: None,
) -> dict[tuple[str, str], list[Entry]]:
    """The rows of each table: (dataset, fingerprint of the data) -> entries, in the order of the runs.

    Args:
        recipes: expids of configs as they stand, outside ranking and tests.
        failed: runs without a result; each is listed in the row of its config, where there is one.
        role_of: the role of a run's config in a comparison. Rows that have one keep its name and marks.

    Raises:
        RequestError: a recipe that no run has, or that a comparison ranked.
    """
    runs = list(runs)
    known = {run.record.expid for run in runs}
    if problems := [unknown("expid", name, sorted(known)) for name in recipes if name not in known]:
        raise RequestError(problems)
    by_data: dict[tuple[str, str], dict[tuple, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_data[run.data][run.record.expid, run.record.config_digest].append(run)
    tables = {}
    for data, groups in by_data.items():
        roles = [_shared_role(map(role_of, group)) for group in groups.values()]
        labels = labels_of([group[0] for group in groups.values()], roles)
        tables[data] = [
            _entry(label, group, recipes, failed, role)
            for label, group, role in zip(labels, groups.values(), roles, strict=True)
        ]
    _check_recipes(recipes, [entry for entries in tables.values() for entry in entries])
    return tables


def _entry(
    label: str, runs: list[Run], recipes: Collection[str], failed: Iterable[FailedRun], role: Role | None
) -> Entry:
    by_seed = tuple(sorted(runs, key=lambda run: run.seed))
    named = runs[0].record.expid in recipes
    if role is None:
        return Entry(label, by_seed, named, _lost(runs, failed))
    recipe = role.recipe or (named and role.comparison is None)
    return Entry(label, by_seed, recipe, _lost(runs, failed), role.proposed, role)


def _shared_role(roles: Iterable[Role | None]) -> Role | None:
    """Of a config. What any comparison keeps out of the ranking or of the baselines stays out of it."""
    found = set(roles)
    if len(found) == 1:
        return found.pop()
    known = found - {None}
    labels = {role.label for role in known}
    return Role(
        labels.pop() if len(labels) == 1 else None,
        recipe=any(role.recipe for role in known),
        proposed=any(role.proposed for role in known),
    )


def _check_recipes(recipes: Collection[str], entries: Sequence[Entry]) -> None:
    problems = []
    for name in recipes:
        rows = [entry for entry in entries if entry.record.expid == name]
        if not any(entry.recipe for entry in rows):
            problems.append(f"--recipe {name}: the comparison in '{rows[0].role.comparison}' ranked it")
    if problems:
        raise RequestError(problems)


def _lost(runs: Sequence[Run], failed: Iterable[FailedRun]) -> dict[int, str]:
    """Seed -> why this config has no result of it."""
    done = {run.seed for run in runs}  # in another folder, perhaps
    return {one.seed: one.reason for one in failed if one.is_of(runs[0].record) and one.seed not in done}


def labels_of(runs: Sequence[Run], roles: Sequence[Role | None] = ()) -> list[str]:
    """A label for each config: the expid, with the settings that tell it from others of the same name.

    A setting that most of those others share goes without saying; so does one that is left to the model. One
    with a role has that label.
    """
    labels = []
    for run, role in zip_longest(runs, roles):
        if role is not None and role.label is not None:
            labels.append(role.label)
            continue
        same = [other.settings for other in runs if other.record.expid == run.record.expid]
        labels.append(with_unusual(run.record.expid, run.settings, same, varying_keys(same)))
    return [
        label if labels.count(label) == 1 else f"{label} [{run.record.config_digest}]"
        for label, run in zip(labels, runs, strict=True)
    ]


def with_unusual(
    name: str, settings: Mapping[str, Any], among: Sequence[Mapping[str, Any]], keys: Iterable[str]
) -> str:
    """A name with those of these settings that most of the others have otherwise."""
    usual = {key: _usual([other.get(key, UNSET) for other in among]) for key in keys if key in settings}
    own = [f"{key}={shown(settings[key])}" for key, value in usual.items() if settings[key] != value]
    return f"{name} ({', '.join(own)})" if own else name


NOT_USUAL = object()
UNSET = "default"  # a model's setting that the config leaves to its constructor


def _usual(values: Sequence[Any]) -> Any:
    """The value that more than half have; NOT_USUAL equals none of them."""
    return next((value for value in values if 2 * values.count(value) > len(values)), NOT_USUAL)


def varying_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values differ; that of a key which one has not is UNSET."""
    keys = dict.fromkeys(key for one in settings for key in one)
    return [
        key for key in keys if any(one.get(key, UNSET) != settings[0].get(key, UNSET) for one in settings)
    ]


def fewest_keys(
    several: Sequence[Mapping[str, Any]], keys: Iterable[str], given: Iterable[str] = ()
) -> list[str]:
    """Those given, and so many more keys as tell the settings apart: first what tells most of them apart."""
    few = list(given)
    left = [key for key in keys if key not in few]
    while left and _kinds(several, few) < len(several):
        few.append(max(left, key=lambda name: _kinds(several, [*few, name])))
        left.remove(few[-1])
    return few


def _kinds(several: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> int:
    """How many of them differ in these keys."""
    return len({json.dumps([settings.get(name) for name in keys]) for settings in several})


def shown(value: Any) -> str:
    """A setting as it stands in a config."""
    return json.dumps(value).strip('"')
