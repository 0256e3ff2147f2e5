"""What a comparison is asked for, and the configs that the request names. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.config.catalog import SHORT_NAMES, expid_of
from fuxictr_qnn.config.merging import parse_overrides
from fuxictr_qnn.config.sources import UNSET, Entry, find_dataset, read_datasets, read_expids
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS
from fuxictr_qnn.training.settings import OF_THE_MACHINE

MOST_SEEDS = 100
MOST_TRIALS = 1000
SEARCHES = ("random", "tpe")
TRIALS_BY_DEFAULT = 4  # of --models; configs that are named by --expid are compared as they stand
SEEDS_BY_DEFAULT = 3
LONGEST_NAME = 60


@dataclass(frozen=True)
class Request:
    """The arguments of `fuxictr compare` that decide what is compared.

    Attributes:
        expids, or dataset and models: what is compared.
        trials, seeds: None: as the folder says, else the default.
        more_seeds: for the comparator and the best of the proposed models, K2 in all.
        proposed: expids that are no baselines, beside those of this package's own models.
        significance: refuse fewer seeds than a test needs, which else leave the models untested.
        recipes: expids of configs as they stand, beside the ranking.
        sets: KEY=VALUE texts.
        space: a space file; None: the shipped one.
    """

    expids: tuple[str, ...] = ()
    dataset: str | None = None
    models: tuple[str, ...] = ()
    config: Path | None = None
    trials: int | None = None
    seeds: int | None = None
    more_seeds: int | None = None
    significance: bool = False
    proposed: tuple[str, ...] = ()
    search: str = "random"
    recipes: tuple[str, ...] = ()
    recipe_seeds: int = 1
    sets: tuple[str, ...] = ()
    space: Path | None = None
    zoo: Path | None = None

    @property
    def default_trials(self) -> int:
        return TRIALS_BY_DEFAULT if self.models else 0

    def check(self) -> None:
        """RequestError for arguments that are wrong by themselves."""
        if problems := list(self._problems()):
            raise RequestError(problems)

    def _problems(self) -> Iterator[str]:
        if bool(self.expids) == bool(self.models):
            both = "both are given" if self.expids else "neither is given"
            yield f"name either --expid ID ... or --dataset ID with --models M ...: {both}"
        if self.models and not self.dataset:
            yield "--models needs --dataset ID: the config of a model is <Model>_<name of the dataset>"
        if self.dataset and not self.models:
            yield f"--dataset {self.dataset} needs --models M ...; --expid names configs that have a dataset"
        yield from _out_of_range("--trials", self.trials, 0, MOST_TRIALS)
        yield from _out_of_range("--seeds", self.seeds, 1, MOST_SEEDS)
        yield from _out_of_range("--more-seeds", self.more_seeds, 2, MOST_SEEDS)
        yield from _out_of_range("--recipe-seeds", self.recipe_seeds, 1, MOST_SEEDS)
        least = self.seeds or SEEDS_BY_DEFAULT
        if self.more_seeds is not None and self.more_seeds <= least:
            yield f"--more-seeds {self.more_seeds}: expected more than the {least} of --seeds"
        if self.significance and self.seeds is not None and self.seeds < LEAST_SEEDS:
            yield f"--significance: a test needs {LEAST_SEEDS} seeds of each model, --seeds is {self.seeds}"
        for option, names in (
            ("--expid", self.expids),
            ("--models", self.models),
            ("--recipe", self.recipes),
            ("--proposed", self.proposed),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            yield from (f"{option} {name}: stands twice" for name in twice)


def _out_of_range(option: str, value: int | None, least: int, most: int) -> Iterator[str]:
    if value is not None and not least <= value <= most:
        yield f"{option} {value}: expected a number from {least} to {most}"


@dataclass(frozen=True)
class Named:
    """A config that the request names.

    Attributes:
        sets: KEY=VALUE pairs that it takes.
    """

    entry: Entry
    dataset: Entry
    sets: tuple[tuple[str, Any], ...]
    recipe: bool = False


def find_configs(request: Request) -> list[Named]:
    """The configs to compare, then the recipes.

    Raises:
        RequestError: every name that is unknown, with the nearest; several datasets.
    """
    problems: list[str] = []
    sets = tuple(parse_overrides(request.sets, problems))
    known = read_expids(request.config)
    where = str(request.config or "the installed model_zoo")
    names = [("--expid", name) for name in request.expids]
    if request.models and request.dataset:
        names = [("--models", expid_of(model, request.dataset)) for model in request.models]
        problems += _unknown_dataset(request)
    compared = [name for _, name in names]
    problems += [
        f"--proposed {name}: it is not compared.{nearest(name, compared)}"
        for name in request.proposed
        if name not in compared
    ]
    found: list[Named] = []
    for option, name in [*names, *(("--recipe", name) for name in request.recipes)]:
        if name not in known:
            problems.append(f"{option}: no experiment {name} in {where}.{nearest(name, known)}")
            continue
        try:
            found.append(_named(known[name], sets, option == "--recipe"))
        except RequestError as error:
            problems += error.problems
    if found and not problems:
        problems += _several_datasets(found, request.dataset)
    if problems:
        raise RequestError(dict.fromkeys(problems))
    return found


def _named(entry: Entry, sets: Sequence[tuple[str, Any]], recipe: bool) -> Named:
    own = tuple((key, value) for key, value in sets if not recipe or _is_of_data(key))
    dataset_id = dict(own).get("dataset_id") or entry.get("dataset_id")
    if dataset_id in UNSET:
        raise RequestError(f"{entry.file}, {entry.name}: dataset_id is not set; --set dataset_id=ID does it")
    return Named(entry, find_dataset(str(dataset_id), entry.folder), own, recipe)


def _is_of_data(key: str) -> bool:
    """Whether --set of this key applies to recipes, too: whatever else is set leaves them as published."""
    from fuxictr_qnn.config.keys import DATASET_KEYS, RENAMED

    top = key.partition(".")[0]
    return RENAMED.get(top, top) in DATASET_KEYS | OF_THE_MACHINE | {"metrics"}


def _unknown_dataset(request: Request) -> list[str]:
    folder = request.config if request.config is None or request.config.is_dir() else request.config.parent
    known = read_datasets(folder)
    if request.dataset in known:
        return []
    return [f"--dataset {request.dataset}: no such dataset.{nearest(request.dataset, known)}"]


def _several_datasets(found: Sequence[Named], wanted: str | None) -> list[str]:
    """One table holds one dataset."""
    by_name = {named.entry.name: named.dataset.name for named in found}
    ids = {wanted, *by_name.values()} - {None}
    if len(ids) == 1:
        return []
    listed = ", ".join(f"{name} on {dataset_id}" for name, dataset_id in by_name.items())
    asked = f"--dataset {wanted}, but " if wanted else "one comparison is on one dataset: "
    return [f"{asked}{listed}"]


def default_name(configs: Sequence[Named]) -> str:
    """Of the folder: the dataset and what is compared on it, or their hash where that is long."""
    dataset_id = configs[0].dataset.name
    short = SHORT_NAMES.get(dataset_id, dataset_id)
    names = [named.entry.name.removesuffix(f"_{short}") for named in configs if not named.recipe]
    name = "-".join([short, *names])
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{short}-{len(names)}-models-{digest}"
