"""Running a recipe so that a failure or a kill spoils nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.recipe import Recipe
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import is_writable, locked, new_folder, sync_file, sync_folder

TEMPORARY = ".preparing-"


def make(recipe: Recipe, raw: Path, folder: Path, log: Log, force: bool) -> dict[str, Path]:
    """Write the recipe's files into `folder`; returns them by name.

    They grow in a temporary folder and are renamed when all are complete. Only then are old files (with
    `force`) removed: whoever reads meanwhile finds the old files, or the new ones, never some of each.

    Raises:
        RequestError: raw files that are missing or of another dataset, files that are there already, no
            room, no right to write; nothing has changed then.
        RunError: the disk failed or is full.
    """
    folder = folder.absolute()
    sources = recipe.find(raw)
    _check(recipe, sources, folder, force)
    waiting = f"waiting for another process that prepares {folder}"
    lock = folder / ".preparing.lock"
    try:
        with new_folder(folder):
            try:
                with locked(lock, on_wait=lambda: log(waiting)):
                    _check(recipe, sources, folder, force)  # another process may have been first
                    return _make(recipe, sources, folder, log)
            except BaseException:
                lock.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise RunError(f"writing the files of '{folder}' failed: {error}") from error


def _check(recipe: Recipe, sources: dict[str, Path], folder: Path, force: bool) -> None:
    names = (*recipe.makes, *recipe.may_make)
    targets = {(folder / name).resolve() for name in names}
    problems = [
        f"'{source}' is a raw file and would be overwritten: move the raw files to '{folder / 'raw'}' "
        "and name that folder"
        for source in sources.values()
        if source.resolve() in targets
    ]
    there = [name for name in names if (folder / name).exists()]
    if there and not force and not problems:
        problems.append(f"'{folder}' has {', '.join(there)} already; --force replaces what is there")
    if not is_writable(folder):
        problems.append(f"'{folder}' cannot be written: set --data-root to a folder that you own")
    wanted, free = sum(path.stat().st_size for path in sources.values()), _free(folder)
    if wanted > free:
        problems.append(
            f"'{folder}' has {free / 1e9:.1f} GB left, but the files need about {wanted / 1e9:.1f} GB"
        )
    if problems:
        raise RequestError(problems)


def _free(folder: Path) -> int:
    """Bytes left where `folder` is or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _make(recipe: Recipe, sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Path]:
    for leftover in folder.glob(f"{TEMPORARY}*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder / f"{TEMPORARY}{uuid4().hex}"
    temporary.mkdir()
    try:
        counts = recipe.write(sources, temporary, log)
        for name in counts:
            sync_file(temporary / name)
        _publish(temporary, folder, list(counts), (*recipe.makes, *recipe.may_make))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for name, count in counts.items():
        log(f"{folder / name}: {count}")
    return {name: folder / name for name in counts}


def _publish(temporary: Path, folder: Path, made: Sequence[str], names: Sequence[str]) -> None:
    """Old files aside, new ones in. A kill in that instant leaves files missing, not two makings mixed."""
    aside = temporary / "replaced"
    aside.mkdir()
    try:
        for name in names:
            if (folder / name).exists():
                os.rename(folder / name, aside / name)
        for name in made:
            os.rename(temporary / name, folder / name)
    except BaseException:
        for path in aside.iterdir():
            os.replace(path, folder / path.name)
        raise
    sync_folder(folder)
