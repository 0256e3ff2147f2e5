"""Where expids and datasets are written: a FuxiCTR config directory, one file, or what is installed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.paths import shipped
from fuxictr_qnn.yaml_files import read_yaml

UNSET = (None, "", "TBD")  # how FuxiCTR's configs write a value that is still to be named


@dataclass(frozen=True)
class Entry:
    """One expid or one dataset: a top-level key of a YAML file, with the Base below it."""

    name: str
    file: Path
    values: dict[str, Any]
    base: dict[str, Any] = field(default_factory=dict)
    base_file: Path | None = None
    dataset_file: Path | None = None  # only a run folder's config.yaml holds the dataset, too

    @property
    def folder(self) -> Path:
        """The config directory (the one that FuxiCTR's --config names): relative paths may start there."""
        file = self.dataset_file if self.dataset_file and self.dataset_file.exists() else self.file
        return file.parent.parent if file.parent.name.endswith("_config") else file.parent

    def get(self, key: str) -> Any:
        """The value of a key, from Base where the entry itself does not set it."""
        return self.values.get(key, self.base.get(key))


def read_expids(config: Path | None) -> dict[str, Entry]:
    """Every expid of a config directory or file; without one, of the installed model_zoo."""
    if config is None:
        folders = sorted(path for path in shipped("model_zoo").iterdir() if path.is_dir())
        return _unique(entry for folder in folders for entry in _entries(_yaml_files(folder, "model_config")))
    if config.is_dir():
        files = _yaml_files(config, "model_config")
        if not files:
            raise RequestError(f"--config {config}: holds neither model_config.yaml nor model_config/*.yaml")
        return _unique(_entries(files))
    if config.is_file():
        data = read_yaml(config)
        if "experiment" in data:
            return {entry.name: entry for entry in [_replayed(config, data)]}
        return _unique(_entries([config]))
    raise RequestError(f"--config {config}: no such folder or file")


def has_expids(folder: Path) -> bool:
    """Whether a folder is a config directory with experiments."""
    return bool(_yaml_files(folder, "model_config"))


def find_dataset(dataset_id: str, folder: Path) -> Entry:
    """A dataset's entry: from the config directory's own dataset_config, else from data_configs/."""
    own = _unique(_entries(_yaml_files(folder, "dataset_config")))
    known = own if dataset_id in own else read_datasets(folder)
    if dataset_id not in known:
        raise RequestError(
            f"dataset '{dataset_id}' is neither in {folder}/dataset_config.yaml (or dataset_config/*.yaml) "
            f"nor installed.{nearest(dataset_id, known)} `fuxictr list datasets` shows the installed ones"
        )
    return known[dataset_id]


def read_datasets(folder: Path | None = None) -> dict[str, Entry]:
    """Every dataset that a config directory can name; its own entries come before the installed ones."""
    own = _yaml_files(folder, "dataset_config") if folder else []
    installed = sorted(shipped("data_configs").glob("*.yaml"))
    return _unique(_entries(installed)) | _unique(_entries(own))


def _yaml_files(folder: Path, kind: str) -> list[Path]:
    single = folder / f"{kind}.yaml"
    return [single] if single.is_file() else sorted((folder / kind).glob("*.yaml"))


def _entries(files: Iterable[Path]) -> list[Entry]:
    """The entries of files that belong together: a file's own Base, else the first Base among them."""
    contents = {file: read_yaml(file) for file in files}
    bases = {file: data["Base"] for file, data in contents.items() if "Base" in data}
    entries = []
    for file, data in contents.items():
        base_file = file if file in bases else next(iter(bases), None)
        base = bases.get(base_file) or {}
        for name, values in data.items():
            if not isinstance(values or {}, dict):
                raise RequestError(f"{file}: '{name}' must hold `key: value` lines, found {values!r}")
            if name != "Base":
                entries.append(Entry(name, file, values or {}, base, base_file))
    return entries


def _unique(entries: Iterable[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in found:
            raise RequestError(f"'{entry.name}' stands in both {found[entry.name].file} and {entry.file}")
        found[entry.name] = entry
    return found


def _replayed(file: Path, data: dict[str, Any]) -> Entry:
    """The config.yaml of a run folder, spread out again into the keys it was made from.

    Data is read as that run read it, or the rows would come in another order.
    """
    try:
        experiment, seed = data["experiment"], data["seed"]
        parts = [experiment[part] for part in ("dataset", "features", "fit", "model_params")]
        values = {key: value for part in parts for key, value in part.items() if key != "source"}
        values |= {"model": experiment["model"], "seed": seed, **_reading(data.get("buffer_bytes"))}
        values |= {"init_from": experiment["init_from"]} if experiment.get("init_from") else {}
        return Entry(experiment["expid"], file, values, dataset_file=Path(experiment["dataset"]["source"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{file}: not a run folder's config.yaml, {error} is missing or wrong") from None


def _reading(buffer_bytes: int | None) -> dict[str, Any]:
    """The keys that stream data in windows of this size, or hold it in memory (None)."""
    if buffer_bytes is None:
        return {"streaming": False}
    return {"streaming": True, "memory_budget": 2 * buffer_bytes / 2**30}  # GiB for two windows
