"""How far a comparison has come, as its folder tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuxictr_qnn.comparing.drawing import Points
from fuxictr_qnn.comparing.entrants import Entrant
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.opening import Prepared
from fuxictr_qnn.comparing.terms import Terms
from fuxictr_qnn.runs.files import RunFiles
from fuxictr_qnn.runs.names import config_name, seed_name
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.store import Standing, Store

_NOTHING_CHOSEN = {"comparator": None, "proposed": None, "configs": {}}


@dataclass(frozen=True)
class Part:
    """An entrant's runs: trials and final seeds in all, and how many of both have ended, well or not."""

    trials: int
    seeds: int
    done: int


def parts(prepared: Prepared, folder: Folder) -> dict[str, Part]:
    """label -> its part; additional seeds count once it is chosen who gets them.

    Raises:
        RequestError: files that no run leaves so.
    """
    terms, chosen = prepared.terms, folder.chosen or _NOTHING_CHOSEN
    recipes = {
        config_name(entrant.expid, entrant.base.digest) for entrant in prepared.entrants if entrant.recipe
    }
    found = {}
    for entrant in prepared.entrants:
        label, trials, ended = entrant.label, 0, 0
        if label in prepared.spaces:
            trials, ended = _trials(prepared.spaces[label], entrant, terms, folder)
        seeds = terms.recipe_seeds if entrant.recipe else terms.seeds
        if label in (chosen["comparator"], chosen["proposed"]):
            seeds = terms.last_seed
        digest = chosen["configs"].get(label, {}).get("config_digest")
        if not trials:
            digest = entrant.base.digest
        if digest is not None:
            configs = [folder.runs / config_name(entrant.expid, digest)]
        else:  # not chosen yet: what has most seeds is taken for it
            configs = [path for path in folder.runs.glob(f"{entrant.expid}-*") if path.name not in recipes]
        settled = max((_settled(config, seeds) for config in configs), default=0)
        found[label] = Part(trials, seeds, ended + settled)
    return found


def _trials(space: Space, entrant: Entrant, terms: Terms, folder: Folder) -> tuple[int, int]:
    """How many different trials there will be, and how many have ended."""
    store = Store(folder.sweep(entrant.expid))
    if isinstance(space, Points):
        trials, count = space.trials(range(space.size)), None
    else:  # TPE names them one by one
        count = min(terms.trials, space.size)
        kept = [values for data, _, values in store.kept() if data == terms.data_fingerprint]
        trials = [space.trial(values) for values in kept if space.holds(values)]
    ended = sum(_has_ended(store.of(trial, terms.data_fingerprint).standing()) for trial in trials)
    return (len(trials), ended) if count is None else (count, min(count, ended))


def _has_ended(standing: Standing) -> bool:
    return standing.state in ("done", "failed", "pruned") and not standing.killed


def _settled(config: Path, seeds: int) -> int:
    """How many of the final seeds of a config have a result, or will have none."""
    runs = [RunFiles(config / seed_name(seed)) for seed in range(1, seeds + 1)]
    return sum(run.is_complete or run.has_failed for run in runs)
