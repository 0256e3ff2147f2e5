"""A dataset by its name, without an experiment around it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fuxictr_qnn.config.checks import check_columns, check_dataset
from fuxictr_qnn.config.keys import DATASET_KEYS, FEATURE_KEYS, FIT_KEYS, OTHER_KEYS, translate
from fuxictr_qnn.config.merging import Setting, Settings, layers_of, merge
from fuxictr_qnn.config.problems import validated
from fuxictr_qnn.config.sources import Entry, find_dataset, read_datasets
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, do_all, nearest


class LoadedDataset(NamedTuple):
    """A dataset as a config describes it, and the folder that its relative paths may start from."""

    spec: DatasetSpec
    config_dir: Path


def load_dataset(dataset_id: str, config: Path | None = None) -> LoadedDataset:
    """Read and validate the config of one dataset.

    Args:
        dataset_id: its name.
        config: a FuxiCTR config directory, or a YAML file of one. Default: the installed data_configs.

    Raises:
        RequestError: no such dataset, with the nearest names, or every problem of its config.
    """
    entry = _find(dataset_id, config)
    settings, _ = translate(merge(layers_of(entry)))
    dataset = {key: setting for key, setting in settings.items() if key in DATASET_KEYS}
    dataset["dataset_id"] = Setting(dataset_id, f"{entry.file}, {entry.name}")
    problems = _misspelt(settings)
    spec = checked_spec(dataset, str(entry.file), problems)
    if problems or spec is None:
        raise RequestError(problems)
    return LoadedDataset(spec, entry.folder)


def load_datasets(ids: Iterable[str], config: Path | None = None) -> list[DatasetSpec]:
    """Several datasets, each once.

    Raises:
        RequestError: the problems of all of them.
    """
    specs: list[DatasetSpec] = []
    do_all(lambda name=name: specs.append(load_dataset(name, config).spec) for name in dict.fromkeys(ids))
    return specs


def checked_spec(dataset: Settings, source: str, problems: list[str]) -> DatasetSpec | None:
    """The keys of a dataset as one object; None, or one that is not fit for training, adds to `problems`.

    Args:
        source: the file that the dataset stands in, for messages.
    """
    check_columns(dataset, problems)
    spec = validated(DatasetSpec, dataset, problems, source=source)
    if spec is not None:
        check_dataset(spec, problems)
    return spec


def _find(dataset_id: str, config: Path | None) -> Entry:
    if config is None:
        known = read_datasets()
        if dataset_id not in known:
            raise RequestError(
                f"no dataset '{dataset_id}' is installed.{nearest(dataset_id, known)} "
                "`fuxictr data list` shows those that are"
            )
        return known[dataset_id]
    if not config.exists():
        raise RequestError(f"--config {config}: no such folder or file")
    return find_dataset(dataset_id, _config_folder(config))


def _config_folder(config: Path) -> Path:
    """The config directory that a file belongs to: it may lie in model_config/ or dataset_config/."""
    if config.is_dir():
        return config
    return config.parent.parent if config.parent.name.endswith("_config") else config.parent


def _misspelt(settings: Settings) -> list[str]:
    """Keys that look like one of a dataset. Others may be a model's: FuxiCTR merges all of them."""
    known = DATASET_KEYS | FIT_KEYS | FEATURE_KEYS | OTHER_KEYS
    guesses = {key: nearest(key, DATASET_KEYS) for key in settings if key not in known}
    return [f"{settings[key].origin}: unknown key {key}.{guess}" for key, guess in guesses.items() if guess]
