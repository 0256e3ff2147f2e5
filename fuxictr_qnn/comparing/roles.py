"""What comparisons fixed, for reports on the run folders that they left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.terms import Terms, read_terms
from fuxictr_qnn.reporting.entries import Role
from fuxictr_qnn.runs.run import Run


@dataclass(frozen=True)
class _Final:
    """A config whose runs a comparison counts: its role, and the last of its seeds."""

    role: Role
    last_seed: int


Finals = dict[tuple[str, str], _Final]  # by expid and digest of the config


class Roles:
    """Of the runs of a report; each comparison's files are read once."""

    def __init__(self):
        self._read: dict[Path, Finals] = {}

    def of(self, run: Run) -> Role | None:
        """The role of a run's config in the comparison whose final run it is; None for any other run.

        Raises:
            RequestError: comparison.yaml or chosen.yaml is not as compare writes it.
        """
        final = self._final(run)
        return final.role if final else None

    def counted(self, runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
        """The runs without those that their comparison does not count, and a sentence about each of these."""
        kept, left_out = [], []
        for run in runs:
            if self._beside(run) and self._final(run) is None:
                why = "is of settings or a seed that its comparison does not count"
                left_out.append(f"'{run.folder}' {why}")
            else:
                kept.append(run)
        return kept, left_out

    def _final(self, run: Run) -> _Final | None:
        final = self._beside(run).get((run.record.expid, run.record.config_digest))
        return final if final and run.seed <= final.last_seed else None

    def _beside(self, run: Run) -> Finals:
        """Of the comparison in whose `runs` the run lies; empty where nothing is fixed, or there is none."""
        above = run.folder.parents
        if len(above) < 3 or Folder(above[2]).runs != above[1]:
            return {}
        if above[2] not in self._read:
            self._read[above[2]] = _finals(Folder(above[2]))
        return self._read[above[2]]


def _finals(folder: Folder) -> Finals:
    chosen = folder.chosen
    if chosen is None:  # before there is one, comparison.yaml may be anybody's
        return {}
    terms = read_terms(folder.terms, remedy="put it back as it was")
    if terms is None:
        return {}
    shared = {"comparison": folder.path, "comparator": chosen["comparator"]}
    recipes = {
        (expid, _digest(named)): _Final(
            Role(_label_of_recipe(terms, expid), recipe=True, **shared), terms.recipe_seeds
        )
        for expid, named in terms.recipes.items()
    }
    ranked = {
        (expid, said["config_digest"]): _Final(
            Role(expid, proposed=expid in terms.proposed, **shared),
            terms.last_seed if expid in (chosen["comparator"], chosen["proposed"]) else terms.seeds,
        )
        for expid in terms.tuned
        if (said := chosen["configs"].get(expid))
    }
    return recipes | ranked  # a recipe that trials chose is ranked


def _label_of_recipe(terms: Terms, expid: str) -> str:
    return f"{expid} recipe" if expid in terms.tuned else expid


def _digest(named: str) -> str:
    return named.split()[1]  # after the model
