"""Where raw files are looked for and where builds go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import is_writable


@dataclass(frozen=True)
class Places:
    """Folders given by the user: raw data, builds (None: beside the raw data), and the config's."""

    data_root: Path = Path("data")
    build_dir: Path | None = None
    config_dir: Path | None = None
    hint: str = ""  # ends a message about missing files: how to get them

    def candidates(self, path: str, dataset_id: str) -> list[Path]:
        """Where a configured path may lie, best first, each absolute and once."""
        folders = [Path.cwd()]
        if self.config_dir is not None:
            config_dir = self.config_dir.absolute()
            folders += [config_dir, *list(config_dir.parents)[:2]]
        folders += [self.data_root, self.data_root / dataset_id]
        paths = [Path(os.path.normpath(folder.absolute() / path)) for folder in folders]
        return list(dict.fromkeys(paths))

    def find(self, path: str, dataset_id: str) -> Path | None:
        """The first candidate that exists and may be looked at, or None."""
        return next((place for place in self.candidates(path, dataset_id) if os.path.exists(place)), None)

    def not_found(self, key: str, path: str, dataset_id: str) -> str:
        """A message that names every place where a configured path was looked for."""
        looked = "\n".join(f"    {candidate}" for candidate in self.candidates(path, dataset_id))
        return f"{key}: '{path}' is at none of\n{looked}\n  set --data-root to the folder that holds it"

    def all_not_found(self, missing: dict[str, str], dataset_id: str) -> list[str]:
        """Messages about several missing files (key -> path).

        The first one says where was looked for them, and how to get them.
        """
        keys = list(missing)
        first = [self.not_found(key, missing[key], dataset_id) + self.hint for key in keys[:1]]
        return first + [f"{key}: '{missing[key]}' is not there either" for key in keys[1:]]

    def build_folders(self, dataset_id: str) -> list[Path]:
        """Where builds of a dataset are looked for, best first."""
        roots = [self.build_dir] if self.build_dir else [self.data_root, user_cache()]
        return [root.absolute() / dataset_id for root in roots]

    def build_root(self, dataset_id: str) -> Path:
        """The folder for a dataset's builds: it can be written, or made.

        Raises:
            RequestError: no place can be written.
        """
        places = self.build_folders(dataset_id)
        for place in places:
            if is_writable(place):
                return place
        tried = " or ".join(f"'{place}'" for place in places)
        raise RequestError(
            f"cannot write the build of '{dataset_id}' to {tried}: set --build-dir to a folder you own"
        )


def user_cache() -> Path:
    """The user's cache folder for builds whose data root cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fuxictr_qnn"
