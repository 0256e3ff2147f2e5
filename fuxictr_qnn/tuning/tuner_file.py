"""FuxiCTR's tuner YAML: which experiment is varied, on which data, and in which keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuxictr_qnn.config.merging import Setting, Settings, layers_of, merge, override, parse_overrides
from fuxictr_qnn.config.sources import UNSET, Entry, find_dataset, has_expids, read_expids
from fuxictr_qnn.errors import RequestError, nearest, shown
from fuxictr_qnn.paths import shipped
from fuxictr_qnn.yaml_files import read_yaml

BLOCKS = ("base_config", "base_expid", "dataset_id", "dataset_config", "model_config", "tuner_space")

# Keys that no sweep can vary, and why. All but dataset_id may have one value for all trials, as FuxiCTR's own
# tuner files give them one.
NOT_SWEPT = {
    "metrics": "trials are compared by them; several for all trials are a list in the list: [[AUC, logloss]]",
    "monitor": "trials are compared by it",
    "monitor_mode": "trials are compared by it",
    "task": "trials are compared by their metrics",
    "dataset_id": "trials are compared on the same data; dataset_id beside tuner_space names it",
    "streaming": "it suits the machine and names no trial; --set streaming=... sets it for all",
    "memory_budget": "it suits the machine and names no trial; --set memory_budget=... sets it for all",
}


@dataclass(frozen=True)
class Tuner:
    """A tuner file as it was read; no value is checked yet.

    Attributes:
        base: the experiment that is varied.
        dataset: its dataset.
        expid: what the trials are called.
        sets: KEY=VALUE pairs of the command line.
        axes: key -> its values, as far as there are several.
        fixed: key -> the one value that the file gives it.
        meanings: axis -> for each of its values the keys that it stands for, and what it sets them to; any
            other axis is a key itself.
    """

    file: Path
    base: Entry
    dataset: Entry
    expid: str
    sets: list[tuple[str, Any]]
    axes: dict[str, list[Any]]
    fixed: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    meanings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def place(self) -> str:
        """How messages call the space."""
        return f"{self.file}, tuner_space"

    def settings(self, values: dict[str, Any], problems: list[str]) -> Settings:
        """Base < expid < dataset < --set < tuner_space, with these values of the axes."""
        written: dict[str, Any] = {}
        for axis, value in values.items():
            written |= self._meaning(axis, value)
        found = merge([*layers_of(self.base), *layers_of(self.dataset)])
        found = override(found, self.sets, problems)
        found = override(found, {**self.fixed, **written}.items(), problems, place=lambda key: self.place)
        return found | {"dataset_id": Setting(self.dataset.name, f"{self.dataset.file}, {self.dataset.name}")}

    def _meaning(self, axis: str, value: Any) -> dict[str, Any]:
        """The keys that a value of an axis sets."""
        if axis not in self.meanings:
            return {axis: value}
        place = next(i for i, known in enumerate(self.axes[axis]) if repr(known) == repr(value))
        return self.meanings[axis][place]


def find_tuner(name: Path) -> Path:
    """A tuner file by its path, or by the name of one that is installed.

    Raises:
        RequestError: no such file, with the nearest of the installed ones.
    """
    if name.is_file():
        return name
    installed = {file.name: file for file in sorted(shipped("model_zoo").glob("*/tuner_*.yaml"))}
    for known in (name.name, f"{name.name}.yaml"):
        if name.parent == Path(".") and known in installed:
            return installed[known]
    what = "is a folder, expected a tuner file" if name.is_dir() else "no such file"
    guess = nearest(name.name, installed) or f" Installed are {', '.join(installed)}."
    raise RequestError(f"--config {name}: {what}.{guess}")


def read_tuner(file: Path, overrides: Iterable[str] = ()) -> Tuner:
    """Read a tuner file and find the experiment and the dataset that it names.

    The experiment stands in the file's model_config, in the folder base_config, or, without that, beside the
    file or in the installed model_zoo; the dataset in the file's dataset_config, beside the experiment, or in
    the installed data_configs.

    Args:
        overrides: `KEY=VALUE` texts for all trials; a key of the space is not among them.

    Raises:
        RequestError: with every problem found.
    """
    data, problems = read_yaml(file), []
    sets = parse_overrides(overrides, problems)
    stray = [str(key) for key in data if key not in BLOCKS]
    axes, fixed = _space(file, data, sets, problems)
    base = _base(file, data, problems)
    dataset_id = _dataset_id(file, data, base, problems) if base else None
    dataset = _dataset(file, data, base, dataset_id, problems) if base and dataset_id else None
    if problems or base is None or dataset is None:
        raise RequestError([*problems, *_misspelt(file, stray)])
    renamed = base.get("dataset_id") in UNSET  # as FuxiCTR's autotuner does
    return Tuner(
        file=file,
        base=base,
        dataset=dataset,
        expid=f"{base.get('model')}_{dataset_id}" if renamed else base.name,
        sets=sets,
        axes=axes,
        fixed=fixed,
        notes=[f"{file}: {', '.join(stray)}: no part of a tuner file, without effect"] if stray else [],
    )


def _misspelt(file: Path, stray: Iterable[str]) -> list[str]:
    guesses = {key: nearest(key, BLOCKS) for key in stray}
    return [f"{file}: {key}: no part of a tuner file.{guess}" for key, guess in guesses.items() if guess]


def _space(
    file: Path, data: dict[str, Any], sets: list[tuple[str, Any]], problems: list[str]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The keys with several values, and those with one; a value that is no list is one."""
    space = data.get("tuner_space")
    if not isinstance(space, dict) or not space:
        found = "is missing" if space is None else f"is {shown(space)}"
        problems.append(f"{file}: tuner_space {found}: expected `key: [value, value]` lines")
        return {}, {}
    place = f"{file}, tuner_space"
    lists = {str(key): value if isinstance(value, list) else [value] for key, value in space.items()}
    problems += [
        f"{place}: {key} = []: no value to try; list some, or remove the key"
        for key, values in lists.items()
        if not values
    ]
    problems += [
        f"--set {key}: the tuner_space of {file} gives it values: change them there"
        for key, _ in sets
        if key in lists
    ]
    distinct = {key: _distinct(values) for key, values in lists.items()}
    axes = {key: values for key, values in distinct.items() if len(values) > 1}
    problems += [
        f"{place}: {key} cannot be swept: {why}"
        for key, why in NOT_SWEPT.items()
        if key in axes or (key == "dataset_id" and key in lists)
    ]
    return axes, {key: values[0] for key, values in distinct.items() if len(values) == 1}


def _distinct(values: list[Any]) -> list[Any]:
    """The values, each once: 1, 1.0 and true are three."""
    return list({repr(value): value for value in values}.values())


def _base(file: Path, data: dict[str, Any], problems: list[str]) -> Entry | None:
    expid = data.get("base_expid")
    if expid is None:
        problems.append(f"{file}: base_expid is missing: name the experiment to vary")
        return None
    try:
        known, where = _experiments(file, data, str(expid))
    except RequestError as error:
        problems += [f"{file}: {problem}" for problem in error.problems]
        return None
    if str(expid) not in known:
        some = nearest(str(expid), known) or f" The first are {', '.join(list(known)[:5])}."
        problems.append(f"{file}: base_expid {expid}: no such experiment in {where}.{some}")
        return None
    return known[str(expid)]


def _experiments(file: Path, data: dict[str, Any], expid: str) -> tuple[dict[str, Entry], str]:
    """Where the experiment is looked for: the entries, and what messages call the place."""
    if "model_config" in data:
        return _inline(file, data["model_config"], "model_config"), "its model_config"
    if "base_config" in data:
        folder = _base_folder(file, str(data["base_config"]))
        return read_expids(folder), str(folder)
    own = read_expids(file.parent) if has_expids(file.parent) else {}
    if expid in own:
        return own, str(file.parent)
    where = f"{file.parent} or the installed model_zoo" if own else "the installed model_zoo"
    return {**read_expids(None), **own}, where


def _base_folder(file: Path, given: str) -> Path:
    """base_config, from the working directory, else from the folders above the tuner file."""
    folders = [Path("."), *file.absolute().parents[:3]]
    places = [folder / given for folder in folders]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places)
    raise RequestError(
        f"base_config {given}: at none of {looked}; remove the key for the installed model_zoo"
    )


def _inline(file: Path, block: Any, name: str) -> dict[str, Entry]:
    """The entries of a block that stands in the tuner file itself."""
    if not isinstance(block, dict) or not all(isinstance(value or {}, dict) for value in block.values()):
        raise RequestError(f"{name}: expected `name: {{key: value}}` entries")
    base = block.get("Base") or {}
    return {
        str(key): Entry(str(key), file, values or {}, base, file if base else None)
        for key, values in block.items()
        if key != "Base"
    }


def _dataset_id(file: Path, data: dict[str, Any], base: Entry, problems: list[str]) -> str | None:
    found = data.get("dataset_id")
    found = base.get("dataset_id") if found in UNSET else found
    if found in UNSET:
        problems.append(f"{file}: dataset_id is missing, and {base.name} sets none: name the dataset")
        return None
    return str(found)


def _dataset(
    file: Path, data: dict[str, Any], base: Entry, dataset_id: str, problems: list[str]
) -> Entry | None:
    try:
        inline = _inline(file, data.get("dataset_config") or {}, "dataset_config")
        return inline[dataset_id] if dataset_id in inline else find_dataset(dataset_id, base.folder)
    except RequestError as error:
        problems += [f"{file}: {problem}" for problem in error.problems]
        return None
