"""Running a recipe so that a failure or a kill spoils nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.sizes import check_room
from fuxictr_qnn.data.recipes.recipe import Recipe
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import locked, new_folder, obstacle, sync_file, sync_folder

TEMPORARY = ".preparing-"
LOCK = ".preparing.lock"
ASIDE, REPLACED, COMPLETE = "aside", "replaced", "complete"  # folders in the temporary one


def make(recipe: Recipe, raw: Path, folder: Path, log: Log, force: bool) -> dict[str, Path]:
    """Write the recipe's files into `folder`; returns them by name.

    They grow in a temporary folder and are renamed when all are complete, after the old ones (with `force`)
    were renamed away. Between the first and the last of these renames files are missing, but old and new ones
    are never there together. Whoever is killed then leaves that to the next call, which puts it right first.

    Raises:
        RequestError: raw files that are missing or of another dataset, files that are there already, no
            room, no right to write; nothing has changed then.
        RunError: the disk failed or is full.
    """
    folder = folder.absolute()
    sources = recipe.find(raw)
    names = (*recipe.makes, *recipe.may_make)
    _check(sources, folder, names)
    waiting = f"waiting for another process that prepares {folder}"
    try:
        with new_folder(folder), locked(folder / LOCK, on_wait=lambda: log(waiting)):
            for leftover in folder.glob(f"{TEMPORARY}*"):
                _put_right(leftover, folder)
            there = [name for name in names if (folder / name).exists()]
            if there and not force:
                raise RequestError(
                    f"'{folder}' has {', '.join(there)} already; --force replaces what is there"
                )
            return _make(recipe, sources, folder, log)
    except (OSError, pl.exceptions.PolarsError) as error:  # of a full disk polars makes an error of its own
        raise RunError(f"writing the files of '{folder}' failed: {error}") from error


def _check(sources: dict[str, Path], folder: Path, names: Sequence[str]) -> None:
    targets = {(folder / name).resolve() for name in names}
    problems = [
        f"'{source}' is a raw file and would be overwritten: move the raw files to '{folder / 'raw'}' "
        "and name that folder"
        for source in sources.values()
        if source.resolve() in targets
    ]
    if found := obstacle(folder):
        problems.append(f"{found}: set --data-root to a folder that you own")
    try:
        check_room(folder, sum(path.stat().st_size for path in sources.values()), "the recipe")
    except RequestError as error:
        problems += error.problems
    if problems:
        raise RequestError(problems)


def _make(recipe: Recipe, sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Path]:
    temporary = folder / f"{TEMPORARY}{uuid4().hex}"
    temporary.mkdir()
    try:
        counts = recipe.write(sources, temporary, log)
        for name in counts:
            sync_file(temporary / name)
        _publish(temporary, folder, list(counts), (*recipe.makes, *recipe.may_make))
    except BaseException:
        _put_right(temporary, folder)
        raise
    shutil.rmtree(temporary, ignore_errors=True)
    for name, count in counts.items():
        log(f"{folder / name}: {count}")
    return {name: folder / name for name in counts}


def _publish(temporary: Path, folder: Path, made: Sequence[str], names: Sequence[str]) -> None:
    """Old files aside, and when all are, new ones in."""
    aside = temporary / ASIDE
    aside.mkdir()
    (temporary / COMPLETE).mkdir()
    for name in made:
        os.rename(temporary / name, temporary / COMPLETE / name)
    for name in names:
        if (folder / name).exists():
            os.rename(folder / name, aside / name)
    os.rename(aside, temporary / REPLACED)  # from here on the new files are the ones that are kept
    for name in made:
        os.rename(temporary / COMPLETE / name, folder / name)
    sync_folder(folder)


def _put_right(temporary: Path, folder: Path) -> None:
    """End what `_publish` began: where not all old files were aside bring them back, else the new ones in."""
    if (temporary / REPLACED).exists():
        moved = (temporary / COMPLETE).glob("*")
    else:
        moved = (temporary / ASIDE).glob("*")
    for path in moved:
        os.replace(path, folder / path.name)
    shutil.rmtree(temporary, ignore_errors=True)
