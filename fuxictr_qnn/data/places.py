"""Where raw files are looked for and where builds go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import is_writable

SUFFIX = {"csv": ".csv", "parquet": ".parquet", "npz": ".npz"}


@dataclass(frozen=True)
class Places:
    """Folders given by the user: raw data, builds (None: beside the raw data), and the config's."""

    data_root: Path = Path("data")
    build_dir: Path | None = None
    config_dir: Path | None = None

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
        """The first candidate that exists, or None."""
        return next((place for place in self.candidates(path, dataset_id) if place.exists()), None)

    def build_root(self, dataset_id: str) -> Path:
        """The folder that holds a dataset's builds: it exists and can be written.

        Raises:
            RequestError: no place can be written.
        """
        beside_data = self.data_root.absolute() / dataset_id
        wanted = self.build_dir.absolute() / dataset_id if self.build_dir else beside_data
        places = [wanted] if self.build_dir else [wanted, user_cache() / dataset_id]
        for place in places:
            if not is_writable(place):
                continue
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue
            return place
        tried = " or ".join(f"'{place}'" for place in places)
        raise RequestError(f"cannot write the build of '{dataset_id}' to {tried}: set --build-dir to a folder you own")


def user_cache() -> Path:
    """The user's cache folder for builds whose data root cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fuxictr_qnn"


def find_raw_files(spec: DatasetSpec, places: Places) -> dict[str, list[Path]]:
    """The files of each split, a folder's in the order of their names.

    Returns:
        split ("train", "valid", "test") -> files, only splits that the config names.

    Raises:
        RequestError: every file that is missing or empty, with where it was looked for.
    """
    found: dict[str, list[Path]] = {}
    problems = []
    if not spec.train_data:
        problems.append(f"{spec.source or spec.dataset_id}: train_data is not set")
    for split, path in spec.split_paths.items():
        files, problem = _files_of(f"{split}_data", path, spec, places)
        found[split] = files
        problems += [problem] if problem else []
    if problems:
        raise RequestError(problems)
    return found


def _files_of(key: str, path: str, spec: DatasetSpec, places: Places) -> tuple[list[Path], str | None]:
    suffix = SUFFIX[spec.data_format]
    place = places.find(path, spec.dataset_id)
    if place is None and not path.endswith(suffix):
        place = places.find(path + suffix, spec.dataset_id)
    if place is None:
        looked = "\n".join(f"    {candidate}" for candidate in places.candidates(path, spec.dataset_id))
        return [], f"{key}: '{path}' is at none of\n{looked}\n  set --data-root to the folder that holds it"
    files = sorted(place.glob(f"*{suffix}")) if place.is_dir() else [place]
    if not files:
        return [], f"{key}: the folder '{place}' holds no {suffix} file"
    empty = [file for file in files if file.stat().st_size == 0]
    if empty:
        return [], f"{key}: '{empty[0]}' is empty (0 bytes)"
    return files, None
