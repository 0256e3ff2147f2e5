"""What comparisons fixed, for reports on the run folders that they left."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.terms import Terms, read_terms
from fuxictr_qnn.reporting.entries import Role
from fuxictr_qnn.runs.run import Run

Roles = dict[tuple[str, str], Role]  # (expid, digest of the config) -> its role


def role_of(run: Run) -> Role | None:
    """The role of a run's config in the comparison whose final run it is; None for any other run.

    Raises:
        RequestError: comparison.yaml or chosen.yaml is not as compare writes it.
    """
    return _roles_beside(run).get((run.record.expid, run.record.config_digest))


def counted(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """The runs without those that their comparison does not count, and a sentence about each of these."""
    kept, left_out = [], []
    for run in runs:
        if _roles_beside(run) and role_of(run) is None:
            left_out.append(f"'{run.folder}' is of settings that its comparison does not count")
        else:
            kept.append(run)
    return kept, left_out


def _roles_beside(run: Run) -> Roles:
    """Of the comparison in whose `runs` the run lies; empty where there is none, or nothing is fixed yet."""
    *_, above = run.folder.parents[:3]
    return _roles(above) if Folder(above).runs == run.folder.parents[1] else {}


@cache
def _roles(path: Path) -> Roles:
    folder = Folder(path)
    terms, chosen = read_terms(folder.terms), folder.chosen
    if terms is None or chosen is None:
        return {}
    recipes = {
        (expid, _digest(terms, expid)): Role(
            f"{expid} recipe" if expid in terms.tuned else expid, path, recipe=True
        )
        for expid in terms.recipes
    }
    ranked = {
        (expid, said["config_digest"]): Role(
            expid, path, proposed=expid in terms.proposed, comparator=expid == chosen["comparator"]
        )
        for expid in terms.tuned
        if (said := chosen["configs"].get(expid))
    }
    return recipes | ranked  # a recipe that trials chose is ranked


def _digest(terms: Terms, recipe: str) -> str:
    return terms.recipes[recipe].split()[1]  # after the model
