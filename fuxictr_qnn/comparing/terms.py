"""What a comparison has committed to: comparison.yaml in its folder, and what may still change.

Until a test split was read there may be more trials. Settings that are chosen afterwards would be chosen with
the test scores in sight: only seeds and recipes may be added then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fuxictr_qnn.comparing.entrants import Entrant, without_recipes
from fuxictr_qnn.comparing.request import SEEDS_BY_DEFAULT, Request
from fuxictr_qnn.comparing.space import SCHEDULE
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import write_text
from fuxictr_qnn.tuning.space import Trial
from fuxictr_qnn.yaml_files import parse_yaml, to_yaml

OTHER_NAME = "--name NAME begins another comparison"


# A model and the digest of its config; with --zoo, the package of the class, too
ConfigName = Annotated[str, Field(pattern=r"^\S+ [0-9a-f]{8}( .+)?$")]


class Terms(BaseModel):
    """The frozen request.

    Attributes:
        tuned: expid -> model and digest of the config that trials start from.
        recipes: expid -> model and digest.
        space: the content of the space file as far as it concerns these models; empty without trials.
        tuning_seeds: expid -> the seed of its trials, which no digest knows; empty without trials.
        proposed: expids that --proposed names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    data_fingerprint: str
    tuned: dict[str, ConfigName]
    recipes: dict[str, ConfigName] = {}
    sets: list[str] = []
    search: str = "random"
    space: dict[str, Any] = {}
    trials: int
    seeds: int
    more_seeds: int | None = None
    recipe_seeds: int = 1
    tuning_seeds: dict[str, int] = {}
    proposed: list[str] = []

    @property
    def last_seed(self) -> int:
        """Of the two configs that may have more seeds than the others."""
        return max(self.seeds, self.more_seeds or 0)


def make_terms(
    request: Request,
    entrants: Sequence[Entrant],
    fingerprint: str,
    trials: int,
    seeds: int,
    before: Terms | None = None,
) -> Terms:
    """The terms of a request whose numbers are known; what it leaves open stays as it was `before`."""
    ranked = without_recipes(entrants)
    configs = {
        recipe: {one.expid: _digest(one.base) for one in entrants if one.recipe == recipe}
        for recipe in (False, True)
    }
    return Terms(
        dataset=entrants[0].base.dataset.dataset_id,
        data_fingerprint=fingerprint,
        tuned=configs[False],
        recipes=configs[True],
        sets=sorted(request.sets),
        search=request.search,
        space=_searched(ranked) if trials else {},
        trials=trials,
        seeds=seeds,
        more_seeds=request.more_seeds or (before.more_seeds if before else None),
        recipe_seeds=max(request.recipe_seeds, before.recipe_seeds if before else 1),
        tuning_seeds={entrant.expid: entrant.base.seed for entrant in ranked} if trials else {},
        proposed=sorted(request.proposed),
    )


def _digest(trial: Trial) -> str:
    """Model and digest of a config; where the model's class is from --zoo, that, too."""
    return f"{trial.experiment.model} {trial.digest} {trial.zoo_package}".strip()


def _searched(entrants: Sequence[Entrant]) -> dict[str, Any]:
    """The space as plain data: shared axes, what schedules are, and each model's keys and own axes."""
    shared: dict[str, Any] = {}
    schedules: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for entrant in entrants:
        axes = entrant.axes
        shared |= axes.shared
        if SCHEDULE in axes.meanings:
            schedules |= dict(zip(axes.shared[SCHEDULE], axes.meanings[SCHEDULE], strict=True))
        keys = {axis: axes.keys_of(axis) for axis in axes.meanings if axis != SCHEDULE}
        models[entrant.expid] = {"keys": keys | dict.fromkeys(axes.left_out), "own": axes.own}
    return {"shared": shared, "schedules": schedules, "models": models}


def numbers_of(request: Request, before: Terms | None) -> tuple[int, int]:
    """Trials and seeds: as asked for, else as the folder says, else the defaults."""
    trials = before.trials if before else request.default_trials
    seeds = before.seeds if before else SEEDS_BY_DEFAULT
    return (
        trials if request.trials is None else request.trials,
        seeds if request.seeds is None else request.seeds,
    )


def check_change(before: Terms, now: Terms, test_was_read: bool, folder: Path) -> None:
    """Refuse what would make another comparison of the one in the folder.

    Raises:
        RequestError: every such change.
    """
    if problems := list(_changes(before, now, test_was_read)):
        raise RequestError([f"'{folder}' holds a comparison {problem}" for problem in problems])


def _changes(before: Terms, now: Terms, test_was_read: bool) -> Iterator[str]:
    searched = before.trials and now.trials
    for what, key in (("on dataset", "dataset"), ("searched by", "search"), ("with --set", "sets")):
        old, new = getattr(before, key), getattr(now, key)
        if old != new and (searched or key != "search"):
            yield f"{what} {_plain(old)}, and this is {_plain(new)}: {OTHER_NAME}"
    if before.dataset == now.dataset and before.data_fingerprint != now.data_fingerprint:
        yield (
            f"on other data (fingerprint {before.data_fingerprint}, now {now.data_fingerprint}), which does "
            f"not mix: {OTHER_NAME}"
        )
    yield from _changed_configs("of", before.tuned, now.tuned, may_grow=False)
    yield from _changed_configs("with the recipes", before.recipes, now.recipes, may_grow=True)
    if searched and before.space != now.space and before.tuned == now.tuned:
        yield f"that searched another space (comparison.yaml keeps it): {OTHER_NAME}"
    for expid, seed in before.tuning_seeds.items() if searched else ():
        if (new := now.tuning_seeds.get(expid, seed)) != seed:
            yield f"whose trials of {expid} have the seed {seed}, and its config says {new}: {OTHER_NAME}"
    if test_was_read and now.proposed != before.proposed:
        yield (
            f"with --proposed {_plain(before.proposed)}, whose test split was read: the comparator, the best "
            f"of all others, was fixed before that; {OTHER_NAME}"
        )
    if test_was_read and now.trials != before.trials:
        yield (
            f"with {before.trials} trials, whose test split was read: settings chosen now would be chosen "
            f"after that; {OTHER_NAME}"
        )
    elif now.trials < before.trials:
        yield f"with {before.trials} trials, and --trials {now.trials} is less: {OTHER_NAME}"
    for option, key in (("--seeds", "seeds"), ("--more-seeds", "more_seeds")):
        old, new = getattr(before, key) or 0, getattr(now, key) or 0
        if new < old:
            yield f"with {option} {old}, and {new} is less: results are not taken away; {OTHER_NAME}"


def _changed_configs(what: str, before: dict[str, str], now: dict[str, str], may_grow: bool) -> Iterator[str]:
    if before.keys() - now.keys() or (now.keys() - before.keys() and not may_grow):
        yield f"{what} {_plain(list(before))}, and this is {_plain(list(now))}: {OTHER_NAME}"
        return
    changed = [expid for expid in before if before[expid] != now[expid]]
    if changed:
        yield f"that began with another config of {', '.join(changed)}: {OTHER_NAME}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def read_terms(file: Path, remedy: str = OTHER_NAME) -> Terms | None:
    """The terms that a folder holds; None where it holds none.

    Args:
        remedy: what to do about a file that is not as it was written.

    Raises:
        RequestError: a file that no comparison wrote.
    """
    if not file.exists():
        return None
    try:
        return Terms.model_validate(parse_yaml(file.read_text(), str(file)))
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "no text"
        raise RequestError(f"{file}: not as compare writes it ({reason}); {remedy}") from None


def write_terms(file: Path, terms: Terms) -> None:
    write_text(file, to_yaml(terms.model_dump(mode="json")))
