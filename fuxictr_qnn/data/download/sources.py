"""One source, whatever its kind -> the complete, unpacked files in a folder of their own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download import http, huggingface, wheel
from fuxictr_qnn.data.download.checksum import difference, set_aside
from fuxictr_qnn.data.download.failure import SourceFailed
from fuxictr_qnn.data.download.unpacking import inside, is_archive, unpack
from fuxictr_qnn.data.origin import Source

HUGGING_FACE = ".huggingface"  # its client's folder of partial files


class Arrival:
    """Where the files of a source arrive.

    Args:
        folder: partial downloads stay here, and files with a wrong checksum.
        ready: complete files come here; the caller moves them to where they belong.
    """

    def __init__(self, folder: Path, ready: Path, log: Log):
        self.folder, self.ready, self.log = folder, ready, log
        self._used: list[Callable[[], None]] = []

    def bring(self, source: Source, wanted: Iterable[str] = (), have: Container[str] = ()) -> list[str]:
        """Download and unpack; returns the names of the files in `ready`.

        Args:
            wanted: the files to take from an archive where the source does not say; empty: all.
            have: names that need not be brought where files come one by one.

        Raises:
            SourceFailed: see the message. RequestError: no room. RunError: the disk is full.
        """
        if source.pypi:
            return self._from_wheel(source)
        if source.file:
            return self._one(source, source.file, source.unpack, wanted)
        if source.url and not source.url.endswith("/"):
            return self._one(source, http.name_in(source.url), source.unpack, wanted)
        pairs = [(path, name) for path, name in source.unpack.items() if name not in have]
        return [self._as_it_is(source, path, name) for path, name in pairs]

    def clean(self) -> None:
        """Remove the downloads that the ready files were made from."""
        for remove in self._used:
            remove()

    def _one(self, source: Source, path: str, names: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
        """The members of an archive, or the one file."""
        file = path.rpartition("/")[2]
        if not is_archive(file):
            return [self._as_it_is(source, path, names.get(path) or names.get(file) or file)]
        archive = self._download(source, path, file)
        try:
            return unpack(archive, file, self.ready, names or {name: name for name in wanted})
        except SourceFailed:  # it is not worth keeping
            http.forget(archive)
            raise

    def _as_it_is(self, source: Source, path: str, name: str) -> str:
        place = inside(self.ready, name)
        downloaded = self._download(source, path, path.rpartition("/")[2])
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(downloaded, place)
        http.forget(downloaded)
        return name

    def _download(self, source: Source, path: str, file: str) -> Path:
        if source.huggingface:
            cache = self.folder / HUGGING_FACE
            self._used.append(lambda: shutil.rmtree(cache, ignore_errors=True))
            downloaded = huggingface.fetch(source.huggingface, path, cache, self.log)
        else:
            downloaded = self.folder / f"{file}.part"
            self._used.append(lambda: http.forget(downloaded))
            url = source.url + quote(path) if source.url.endswith("/") else source.url
            http.fetch(url, downloaded, self.log)
        self._check(downloaded, self.folder / file, source.md5)
        return downloaded

    def _from_wheel(self, source: Source) -> list[str]:
        fetched = self.ready / ".wheel"
        file = wheel.fetch(source.pypi, fetched)
        try:
            self._check(file, self.folder / file.name, source.md5)
            members = source.unpack or {source.file: source.file.rpartition("/")[2]}
            return unpack(file, file.name, self.ready, members)
        finally:
            shutil.rmtree(fetched)

    def _check(self, file: Path, target: Path, md5: str | None) -> None:
        """SourceFailed, and the file kept aside, if its bytes are not the published ones."""
        if how := difference(file, md5):
            aside = set_aside(file, target)
            http.forget(file)
            raise SourceFailed(f"{target.name} {how}; kept as '{aside}'")
