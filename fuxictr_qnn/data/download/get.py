"""`fuxictr data get`: a dataset's files, right or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.checksum import difference, set_aside
from fuxictr_qnn.data.download.failure import SourceFailed, raise_if_full
from fuxictr_qnn.data.download.plan import Plan
from fuxictr_qnn.data.download.sizes import check_room, size_text
from fuxictr_qnn.data.origin import Source
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import locked, new_folder, obstacle, sync_file, sync_folder

STAGING = ".arriving-"
LOCK = ".get.lock"


def get_dataset(
    spec: DatasetSpec, data_root: Path, log: Log = print, *, force: bool = False, only: int | None = None
) -> list[Path]:
    """Download a public dataset into its folder under `data_root`; returns its files.

    Sources are tried in order until one gives files whose MD5 is the published one (where one is
    published). Every file appears under its name when it is complete and checked. What is there and right
    is kept, what is there and wrong is only replaced by force; a file that arrives with a wrong MD5 is kept
    as `<name>.wrong-md5`.

    Args:
        log: gets a line for the size and licence, for each source that failed and for each file.
        force: download again and replace.
        only: the number of the one source to try, from 1.

    Raises:
        RequestError: no origin or source, data that must be fetched by hand, no room, no right to write, or
            a file that is there with other contents. Nothing has changed then.
        RunError: no source worked, or the disk is full. Partial downloads are kept, and go on next time.
    """
    plan = Plan.of(spec, data_root)
    try:
        if force or not _is_there(plan, log):
            sources = _check_request(plan, only, force)
            _announce(plan, log)
            waiting = f"waiting for another process that gets {plan.folder}"
            with new_folder(plan.folder), locked(plan.folder / LOCK, on_wait=lambda: log(waiting)):
                if force or not _is_there(plan, log):  # another process may have been first
                    _get(plan, sources, log, force)
    except OSError as error:
        raise_if_full(error, plan.folder)
        remedy = "--data-root names another folder"
        raise RunError(f"getting {plan.dataset_id} into '{plan.folder}' failed: {error}; {remedy}") from error
    return [plan.folder / name for name in plan.files]


def _is_there(plan: Plan, log: Log) -> bool:
    """Whether every file is there and right.

    Raises:
        RequestError: some are there, but are not the published ones.
    """
    other, ends = plan.differing()
    if other:
        raise RequestError(f"{sentence}; --force replaces it" for sentence in other)
    if plan.missing() or not plan.files:
        return False
    for sentence in ends:
        log(f"note: {sentence}; kept")
    checked = sum(md5 is not None for md5 in plan.files.values())
    log(
        f"{plan.dataset_id} is there: {', '.join(plan.files)} in {plan.folder}"
        + (f" ({checked} of {len(plan.files)} with the known md5)" if checked else " (no md5 is known)")
    )
    return True


def _check_request(plan: Plan, only: int | None, force: bool) -> list[tuple[int, Source]]:
    """The sources to try, numbered; RequestError where there is none or they could not be used."""
    origin = plan.origin
    numbered = list(enumerate(origin.sources, start=1))
    problems = []
    if found := obstacle(plan.folder):
        problems.append(f"{found}: set --data-root to a folder that you own")
    if not numbered:
        problems.append(f"{plan.dataset_id} cannot be downloaded by a program; {plan.by_hand}")
        raise RequestError(problems)
    if only is not None and not 1 <= only <= len(numbered):
        listed = "; ".join(f"{number} is {source}" for number, source in numbered)
        problems.append(f"--source {only}: {plan.dataset_id} has no such source: {listed}")
    if origin.recipe is not None:
        from fuxictr_qnn.data.recipes import RECIPES

        if origin.recipe not in RECIPES:
            problems.append(f"{plan.dataset_id}: origin.recipe {origin.recipe!r} is no recipe")
    made = [name for name in plan.files if plan.has(name)]
    if origin.recipe is not None and made and not force:
        problems.append(
            f"'{plan.folder}' has {', '.join(made)}, but not {', '.join(plan.missing())}; --force makes all "
            "of them anew"
        )
    if problems:
        raise RequestError(problems)
    partial = sum(path.stat().st_size for path in plan.folder.glob("*.part"))
    check_room(plan.folder, (origin.download or 0) - partial, plan.dataset_id)
    return numbered if only is None else [numbered[only - 1]]


def _announce(plan: Plan, log: Log) -> None:
    size = f"about {size_text(plan.origin.download)}" if plan.origin.download else "unknown size"
    log(f"{plan.dataset_id}: a download of {size} to {plan.folder}/")
    log(f"  licence: {plan.origin.licence}; home: {plan.origin.home}")


def _get(plan: Plan, sources: Sequence[tuple[int, Source]], log: Log, force: bool) -> None:
    if plan.origin.recipe is None:
        _download(plan, sources, log, force)
        return
    if force or not _raw_is_there(plan, sources):
        _download(plan, sources, log, force)
    from fuxictr_qnn.data.recipes import prepare

    prepare(plan.origin.recipe, plan.raw, plan.folder, log, force)
    wrong = _set_wrong_aside(plan, plan.folder, plan.files)
    if wrong:
        raise RunError(f"the recipe made other files than expected: {'; '.join(wrong)}")


def _raw_is_there(plan: Plan, sources: Sequence[tuple[int, Source]]) -> bool:
    """Whether an earlier call brought all that one source gives; files only appear when complete."""
    return any(
        source.unpack and all(plan.has(plan.arriving(name)) for name in source.unpack.values())
        for _, source in sources
    )


def _download(plan: Plan, sources: Sequence[tuple[int, Source]], log: Log, force: bool) -> None:
    """The first source that works.

    Raises:
        RunError: none does, with what is wrong with each.
    """
    for leftover in plan.folder.glob(f"{STAGING}*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    failures = []
    for number, source in sources:
        ready = plan.folder / f"{STAGING}{uuid4().hex}"
        ready.mkdir()
        try:
            return _download_from(source, plan, ready, log, force)
        except SourceFailed as failure:
            failures.append(f"source {number} ({source}): {failure}")
            if len(failures) < len(sources):
                log(f"{failures[-1]}; trying source {sources[len(failures)][0]}")
            _publish(plan, ready, plan.right(ready), log)
        finally:
            shutil.rmtree(ready, ignore_errors=True)
    listed = "".join(f"\n  {failure}" for failure in failures)
    mirror = "\n  a mirror of Hugging Face: set HF_ENDPOINT to its address, and get the dataset again"
    remedies = mirror if any(source.huggingface for _, source in sources) else ""
    raise RunError(f"{plan.dataset_id}: no source worked{listed}{remedies}\n  {plan.by_hand}")


def _download_from(source: Source, plan: Plan, ready: Path, log: Log, force: bool) -> None:
    """Files of a source, by way of `ready`, to where they belong; SourceFailed if one is missing or wrong."""
    from fuxictr_qnn.data.download.sources import Arrival

    wanted = [] if plan.origin.recipe else list(plan.files)
    arrival = Arrival(plan.folder, ready / plan.arriving(""), log)
    there = [] if force else [name for name in source.unpack.values() if plan.has(plan.arriving(name))]
    names = [plan.arriving(name) for name in arrival.bring(source, wanted, have=there)]
    names = [name for name in names if force or not plan.has(name)]
    missing = [name for name in wanted if name not in names and not plan.has(name)]
    if missing:
        raise SourceFailed(f"it gives {', '.join(names[:5])}, but not {', '.join(missing)}")
    if wrong := _set_wrong_aside(plan, ready, names):
        raise SourceFailed("; ".join(wrong))
    _publish(plan, ready, names, log)
    if plan.origin.recipe and force:  # it would not know which source's files to take
        others = {plan.arriving(name) for other in plan.origin.sources for name in other.unpack.values()}
        for name in others.difference(names):
            (plan.folder / name).unlink(missing_ok=True)
    arrival.clean()


def _set_wrong_aside(plan: Plan, folder: Path, names: Iterable[str]) -> list[str]:
    """Rename the files in `folder` that are not the published ones; a sentence for each."""
    problems = []
    for name in names:
        if how := difference(folder / name, plan.md5.get(name)):
            aside = set_aside(folder / name, plan.folder / name)
            problems.append(f"{name} {how}; kept as '{aside}'")
    return problems


def _publish(plan: Plan, ready: Path, names: Sequence[str], log: Log) -> None:
    """Complete files under their names."""
    for name in names:
        sync_file(ready / name)
    for name in names:
        target = plan.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(ready / name, target)
        log(f"got {target}, {size_text(target.stat().st_size)}")
    sync_folder(plan.folder)
