"""What a download would bring, where it goes, and what of it is there."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fuxictr_qnn.data.download.checksum import difference, same_lines
from fuxictr_qnn.data.download.sizes import size_text
from fuxictr_qnn.data.origin import Origin
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.paths import shipped

RAW = "raw/"


@dataclass(frozen=True)
class Plan:
    """The files of a public dataset.

    Attributes:
        folder: where its files go, under the data root.
        files: those of the benchmark; name under `folder` -> published MD5, None where none is known.
        raw_files: those that the recipe makes the others from, in the same way; only where an MD5 is known.
        then: the command for files that were fetched by hand.
    """

    dataset_id: str
    origin: Origin
    folder: Path
    files: dict[str, str | None]
    raw_files: dict[str, str | None]
    then: str

    @classmethod
    def of(cls, spec: DatasetSpec, data_root: Path) -> Plan:
        """The plan for a dataset.

        Raises:
            RequestError: nothing is known about where it comes from.
        """
        if spec.generator:
            raise RequestError(
                f"{spec.dataset_id} is simulated: `fuxictr run` makes it on first use, nothing is downloaded"
            )
        if spec.origin is None:
            raise RequestError(
                f"{spec.source}, {spec.dataset_id}: origin is not set, so nobody knows where to download it. "
                "`fuxictr data list` shows the datasets with an origin"
            )
        home = home_of(spec)
        files = {_below(home, path): None for path in _paths(spec)}
        files |= spec.expected.md5 if spec.expected else {}
        raw = {name: md5 for name, md5 in files.items() if spec.origin.recipe and name.startswith(RAW)}
        made = {name: md5 for name, md5 in files.items() if name not in raw}
        then = _command("prepare" if spec.origin.recipe else "check", spec, data_root)
        return cls(spec.dataset_id, spec.origin, data_root / home, made, raw, then)

    @property
    def md5(self) -> dict[str, str | None]:
        """Of the files and the raw files."""
        return self.files | self.raw_files

    @property
    def raw(self) -> Path:
        """What a recipe needs is kept apart from what it makes."""
        return self.folder / RAW

    def arriving(self, name: str) -> str:
        """Where a file of a source goes: its name under `folder`."""
        return f"{RAW}{name.removeprefix(RAW)}" if self.origin.recipe else name

    def missing(self) -> list[str]:
        """Names of the files that are not there."""
        return [name for name in self.files if not self.has(name)]

    def has(self, name: str) -> bool:
        return os.path.exists(self.folder / name)  # Path.exists raises where it may not look

    def right(self, folder: Path) -> list[str]:
        """Names of the files in `folder` that have their published MD5."""
        return [
            name
            for name, md5 in self.md5.items()
            if md5 and (folder / name).is_file() and difference(folder / name, md5) is None
        ]

    def differing(self) -> tuple[list[str], list[str]]:
        """Sentences about files that are there but are not the published bytes.

        Returns:
            about files with other contents; about files of the same rows whose line ends differ.
        """
        other, ends = [], []
        for name, md5 in self.md5.items():
            file = self.folder / name
            if os.path.isfile(file) and (how := difference(file, md5)):
                (ends if same_lines(file, md5) else other).append(f"'{file}' {how}")
        return other, ends

    @property
    def by_hand(self) -> str:
        """What can be done without a download: what to get, where it goes, and the command after that."""
        from fuxictr_qnn.data.recipes import RECIPES

        made, other = RECIPES.get(self.origin.recipe or ""), RECIPES.get(self.dataset_id)
        what = self.origin.by_hand or f"get {made.source if made else ', '.join(self.files)}"
        place = self.raw if made else self.folder
        sentence = (
            f"by hand: {what.strip()} (home: {self.origin.home}; licence: {self.origin.licence}); the files "
            f"go to '{place}', then `{self.then}`"
        )
        if other and not made:
            sentence += f". Or `fuxictr data prepare {self.dataset_id} --raw DIR` with {other.source} in DIR"
        return sentence


def home_of(spec: DatasetSpec) -> str:
    """The folder under the data root that a dataset's paths share; variants of a dataset share one."""
    first = {PurePosixPath(path).parts[0] for path in _paths(spec) if len(PurePosixPath(path).parts) > 1}
    return first.pop() if len(first) == 1 and not first & {"/", "..", "."} else spec.dataset_id


def with_hint(spec: DatasetSpec, places: Places) -> Places:
    """The same places; a message about missing files of this dataset says how to get them."""
    return replace(places, hint=download_hint(spec, places))


def download_hint(spec: DatasetSpec, places: Places) -> str:
    """The sentence that ends a message about a missing file: the command that gets it. "" if none does."""
    if spec.origin is None or spec.generator:
        return ""
    command = _command("get", spec, places.data_root, places.config_dir)
    if not spec.origin.sources:
        return f"; `{command}` says how to get it"
    size = size_text(spec.origin.download) if spec.origin.download else "it"
    return f"; `{command}` downloads {size} to {places.data_root / home_of(spec)}/"


def _command(action: str, spec: DatasetSpec, data_root: Path, config_dir: Path | None = None) -> str:
    """`fuxictr data ACTION` for this dataset, as a user would type it."""
    words = ["fuxictr", "data", action, spec.dataset_id]
    folder = Path(spec.source).parent
    if spec.source and folder != shipped("data_configs"):
        folder = folder.parent if folder.name == "dataset_config" else folder
        words += ["--config", str(config_dir or folder)]
    return shlex.join([*words, "--data-root", str(data_root)])


def _paths(spec: DatasetSpec) -> list[str]:
    """The files that the config names, as it names them."""
    return [*spec.split_paths.values(), *(path for path in (spec.item_info, spec.item_features) if path)]


def _below(home: str, path: str) -> str:
    pure = PurePosixPath(path)
    return str(pure.relative_to(home)) if pure.is_relative_to(home) else pure.name
