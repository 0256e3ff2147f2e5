"""Members of an archive as files: chosen, renamed, never outside their folder, nothing but plain files."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from fuxictr_qnn.data.download.failure import SourceFailed, raise_if_full
from fuxictr_qnn.data.download.sizes import check_room
from fuxictr_qnn.errors import nearest

CHUNK = 1 << 20
TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    UnicodeError,
    NotImplementedError,  # a compression that zipfile lacks
    RuntimeError,  # zipfile: encrypted
    ValueError,
)


class Member(NamedTuple):
    """A file in an archive."""

    path: str
    size: int | None
    open: Callable[[], BinaryIO]


def is_archive(name: str) -> bool:
    """By its name: what is inside decides nothing, as .npz and .xlsx are zip files, too."""
    return name.lower().endswith((".zip", ".whl", ".gz", *TARS))


def unpack(archive: Path, name: str, folder: Path, members: Mapping[str, str]) -> list[str]:
    """Write members of `archive` into `folder`; returns their names.

    Args:
        name: what the archive is called (its file may be called `<name>.part`).
        members: the path of a member, or the end of it -> its name under `folder`. Empty: all members
            are written under their own names.

    Raises:
        SourceFailed: damaged, a member missing or there twice, or one that would leave the folder.
        RequestError: no room for it. RunError: the disk is full.
    """
    try:
        with _members(archive, name) as found:
            chosen = _chosen(found, members, name)
            check_room(folder, sum(member.size or 0 for member in chosen.values()), f"unpacking {name}")
            for target, member in chosen.items():
                path = inside(folder, target)
                path.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, open(path, "xb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except OSError as error:
        raise_if_full(error, folder)
        if isinstance(error, (gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError)) or error.errno is None:
            raise SourceFailed(_damaged(archive, name, error)) from error
        raise
    except DAMAGE as error:
        raise SourceFailed(_damaged(archive, name, error)) from error
    return list(chosen)


def inside(folder: Path, name: str) -> Path:
    """`folder / name`; SourceFailed if that is not below `folder` on every system."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise SourceFailed(f"'{name}' would be written outside its folder")
    return folder.joinpath(*parts)


def _chosen(found: list[Member], members: Mapping[str, str], name: str) -> dict[str, Member]:
    """The member of each target name."""
    if not members:
        kept = [member for member in found if not _is_litter(member.path)]
        return {member.path: member for member in kept}
    chosen = {}
    for path, target in members.items():
        exact = [member for member in found if member.path == path]
        places = exact or [
            member for member in found if member.path.endswith(f"/{path}") and not _is_litter(member.path)
        ]
        if len(places) != 1:
            paths = [member.path for member in found]
            some = ", ".join(paths[:5]) + (" ..." if len(paths) > 5 else "")
            problem = "holds no" if not places else f"holds {len(places)} files named"
            raise SourceFailed(f"{name} {problem} {path}, but {some or 'nothing'}.{nearest(path, paths)}")
        chosen[target] = places[0]
    return chosen


@contextmanager
def _members(archive: Path, name: str) -> Iterator[list[Member]]:
    lower = name.lower()
    if lower.endswith(TARS):
        with tarfile.open(archive) as tar:
            yield [_of_tar(tar, info) for info in tar if info.isfile()]
    elif lower.endswith(".gz"):
        yield [Member(PurePosixPath(name).name[: -len(".gz")], None, lambda: gzip.open(archive))]
    else:
        with zipfile.ZipFile(archive) as packed:
            yield [_of_zip(packed, info) for info in packed.infolist() if not info.is_dir()]


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    return Member(info.name.removeprefix("./"), info.size, lambda: tar.extractfile(info))


def _of_zip(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    return Member(info.filename, info.file_size, lambda: packed.open(info))


def _is_litter(path: str) -> bool:
    """What macOS adds to archives."""
    parts = PurePosixPath(path).parts
    return "__MACOSX" in parts or parts[-1] in (".DS_Store", "Thumbs.db")


def _damaged(archive: Path, name: str, error: BaseException) -> str:
    with open(archive, "rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return f"{name} is a web page, not an archive: a login or an error page?"
    return f"{name} is damaged: {error or type(error).__name__}"
