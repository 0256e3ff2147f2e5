"""From a publisher's raw files to the files of a benchmark: one module a dataset, one table."""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.plan import RAW, home_of
from fuxictr_qnn.data.recipes import (
    criteo_x4,
    frappe_x1,
    ipinyou_x1,
    microlens_1m_x1,
    ml1m_next,
    ml_1m_x1,
    ml_100k,
    tenrec_x1,
)
from fuxictr_qnn.data.recipes.making import make
from fuxictr_qnn.data.recipes.recipe import Recipe
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest, unknown
from fuxictr_qnn.files import obstacle

__all__ = ["RECIPES", "Recipe", "prepare", "prepare_dataset", "recipe_of"]

# By the name that a dataset's config gives as origin.recipe; mostly its own.
RECIPES: dict[str, Recipe] = {
    "criteo_x4": criteo_x4.RECIPE,
    "frappe_x1": frappe_x1.RECIPE,
    "ipinyou_x1": ipinyou_x1.RECIPE,
    "microlens_1m_x1": microlens_1m_x1.RECIPE,
    "microlens_1m_x1_levels": microlens_1m_x1.WITH_LEVELS,
    "ml1m_next": ml1m_next.RECIPE,
    "ml_1m_x1": ml_1m_x1.RECIPE,
    "ml_100k": ml_100k.RECIPE,
    "tenrec_x1": tenrec_x1.RECIPE,
}


def recipe_of(spec: DatasetSpec) -> str:
    """Name of the recipe that makes a dataset's files: the one its config names, else that of its own name.

    Raises:
        RequestError: there is none.
    """
    name = (spec.origin and spec.origin.recipe) or spec.dataset_id
    if name not in RECIPES:
        raise RequestError(
            f"{spec.dataset_id} has no recipe: its files are published, or your own, as they are used. "
            f"Recipes: {', '.join(RECIPES)}.{nearest(name, RECIPES)}"
        )
    return name


def prepare_dataset(
    spec: DatasetSpec, data_root: Path, raw: Path | None = None, log: Log = print, force: bool = False
) -> dict[str, Path]:
    """Make a dataset's files in its folder under `data_root`; like `prepare`, of which it has its errors.

    Args:
        raw: where the raw files are. Default: the folder raw/ there.
    """
    recipe, folder = recipe_of(spec), data_root / home_of(spec)
    if found := obstacle(folder):
        raise RequestError(f"--data-root {data_root}: {found}; name a folder that you own")
    return prepare(recipe, raw or folder / RAW, folder, log, force)


def prepare(name: str, raw: Path, folder: Path, log: Log = print, force: bool = False) -> dict[str, Path]:
    """Make the files of a recipe from the raw files in `raw`; returns them by name.

    Args:
        folder: where they go; made if it is missing.
        log: gets a line before long work and one for each file: rows and positive rate.
        force: replace files that are there.

    Raises:
        RequestError: no such recipe; raw files that are missing or of another dataset; files that are
            there already. Nothing has changed then.
        RunError: the disk failed or is full.
    """
    if name not in RECIPES:
        raise RequestError(unknown("recipe", name, RECIPES))
    return make(RECIPES[name], raw, folder, log, force)
