"""Files that are either the old one or the new one, never half of it, and locks between processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def is_of_disk(error: OSError, folder: Path) -> bool:
    """Whether the disk refused something (it is full, broken or read-only), or a file in `folder` did."""
    names = [Path(str(name)) for name in (error.filename, error.filename2) if name is not None]
    return error.errno in _DISK or any(name.is_relative_to(folder) for name in names)


def hash_of(file: Path, algorithm: str = "sha256") -> str:
    """The hash of a file's bytes, in hex: what it is known by, not a defence against attacks."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, "rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a kill at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    write_text(path, json.dumps(value, indent=indent) + "\n")


def publish_folder(temporary: Path, final: Path) -> None:
    """Rename a complete folder into place, its files on disk before its name is."""
    for path in temporary.rglob("*"):
        if path.is_file():
            sync_file(path)
    sync_folder(temporary)
    os.rename(temporary, final)
    sync_folder(final.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Replace `target` by a hard link to `source`, by a copy where the file system has none.

    A link shares what is later written into either file: for files that are only ever replaced.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_name(f".{target.name}.copy")
        shutil.copy2(source, temporary)
        os.replace(temporary, target)


def sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's list of names; systems that cannot (Windows) need not."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path`; waits for another process, after calling `on_wait` once.

    The lock belongs to the process: when that dies, even by kill -9, the lock is free. Its file is made
    (with the folder it lies in) and goes again while the lock is held, so that none is left behind.
    """
    lock = FileLock(path)
    try:
        _acquire(lock, path, timeout=0)
    except Timeout:
        on_wait()
        _acquire(lock, path, timeout=-1)
    try:
        yield
    finally:
        _release(lock, path)


@contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if nobody else does: yields whether it is held."""
    lock = FileLock(path)
    try:
        _acquire(lock, path, timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        _release(lock, path)


def _acquire(lock: FileLock, path: Path, timeout: float) -> None:
    """Acquire the lock on the file that `path` names, not on one that its last holder has removed.

    A file that `path` names before and after is the one that was locked: `named` keeps its number from
    being given to another file.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), open(path, "ab") as named:  # gone: its last holder removed it
            lock.acquire(timeout=timeout)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(named.fileno()), os.stat(path)):
                    return
            lock.release()


def _release(lock: FileLock, path: Path) -> None:
    """Remove the file before others can lock it. Windows removes no open file: there it stays."""
    with suppress(OSError):
        path.unlink()
    lock.release()


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """Make `path` and what is missing above it; after an error, what was made and is empty goes again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # not empty
                folder.rmdir()
        raise


def is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or in the nearest folder above it that exists."""
    return obstacle(folder) is None


def obstacle(folder: Path) -> str | None:
    """What keeps files from being made in `folder`, for a message; None if nothing does.

    Where it does not exist, the nearest folder above it counts. One without any write bit is read-only for
    root, too.
    """
    there = folder.absolute()
    while not os.path.exists(there) and there.parent != there:  # Path.exists raises where it may not look
        there = there.parent
    if not there.is_dir():
        return f"'{there}' is a file, not a folder"
    if os.access(there, os.W_OK | os.X_OK) and _mode(there) & 0o222:
        return None
    return f"'{there}' cannot be written"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
