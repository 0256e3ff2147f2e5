"""The values of features in the rows of a run's test split, and which of them training had never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fuxictr_qnn.config.sources import read_expids
from fuxictr_qnn.data.dataset import BuiltDataset
from fuxictr_qnn.data.lookup import find_build
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.runs.run import Run
from fuxictr_qnn.training.experiment import FeatureUse
from fuxictr_qnn.training.starting_point import buckets_of
from fuxictr_qnn.training.token_rows import Tokens, read_tokens

UNSEEN = "unseen in training"
RANGES = 10  # of a number, with about as many rows each
_BATCH = 65_536


@dataclass(frozen=True)
class Values:
    """A feature's value in each of N rows.

    Attributes:
        codes: (N,), the number of the value's name.
        names: of the values.
        unseen: (N,), whether training had no row with the value; None where that says nothing (numbers).
        ordered: whether the names have an order of their own.
    """

    feature: str
    codes: np.ndarray
    names: list[str]
    unseen: np.ndarray | None
    ordered: bool = False


class HeldOutRows:
    """The test split of a run, as ids in file order.

    Args:
        run: whose data it is.
        features: to read.
        places: where raw data and builds lie.

    Raises:
        RequestError: the data is not built, is other data than the run's, has no test split or not the
            features, or they are lists.
    """

    def __init__(self, run: Run, features: Sequence[str], places: Places):
        self._folder = run.folder / "features"
        self._spec = DatasetSpec.model_validate(run.experiment["dataset"])
        self._built = _open(run, self._spec, places)
        self._whole = self._feature_map(FeatureUse())
        _check(features, self._whole, self._spec.dataset_id)
        self._names = list(features)

    def values(self, feature: str) -> Values:
        """Of one of the features."""
        kind = self._whole.features[feature]["type"]
        column = self._test[feature]
        if kind == "numeric":
            return _ranges(feature, column)
        column = column.astype(np.int64)
        vocabulary = self._vocabularies.get(feature)
        ids, codes = np.unique(column, return_inverse=True)
        if vocabulary is not None:
            names = _tokens_of(ids, vocabulary)
            unseen_ids = ids >= vocabulary.special.get("__OOV__", np.inf)  # keys of a pretrained table follow
        else:
            names = _bucket_names(ids, buckets_of(self._preprocessing).get(feature))
            unseen_ids = ~np.isin(ids, np.unique(self._train[feature].astype(np.int64)))
        return Values(feature, codes, names, unseen_ids[codes], vocabulary is None)

    @property
    def rows(self) -> int:
        return len(next(iter(self._test.values())))

    @cached_property
    def _test(self) -> dict[str, np.ndarray]:
        return self._columns("test")

    @cached_property
    def _train(self) -> dict[str, np.ndarray]:
        return self._columns("train")

    @cached_property
    def _vocabularies(self) -> dict[str, Tokens]:
        file = self._folder / "feature_vocab.json"
        return read_tokens(file) if file.is_file() else {}

    @property
    def _preprocessing(self) -> Path | None:
        file = self._folder / "preprocessing.json"
        return file if file.is_file() else None

    def _feature_map(self, use: FeatureUse) -> Any:
        from fuxictr_qnn.data import load_feature_map

        spec = self._spec.model_copy(update={"group_id": None, "weight_col": None})
        return load_feature_map(self._built.feature_map, spec, use)

    def _columns(self, split: str) -> dict[str, np.ndarray]:
        """The features of a split's rows; those of items from the item table."""
        from fuxictr_qnn.data import open_loaders

        table = getattr(self._whole, "item_table", {})
        key, history = (getattr(self._whole, name, None) for name in ("item_key", "item_history"))
        of_items = [name for name in self._names if name in table and name != key]
        wanted = [*self._names, *([key, history] if of_items or key in self._names else [])]
        use = FeatureUse(use_features=list(dict.fromkeys(wanted)))
        path = self._built.splits[split]
        loaders = open_loaders(
            self._feature_map(use), {split: path}, batch_size=_BATCH, shuffle=False, seed=0
        )
        read = [name for name in wanted if name not in of_items and name != history]
        parts: dict[str, list[np.ndarray]] = {name: [] for name in read}
        for batch in loaders[split]:
            for name in read:
                parts[name].append(batch[name].numpy().reshape(len(batch[name])))
        found = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        return found | {name: table[name].numpy()[found[key].astype(np.int64)] for name in of_items}


def _open(run: Run, spec: DatasetSpec, places: Places) -> BuiltDataset:
    entry = next(iter(read_expids(run.folder / "config.yaml").values()))
    places = Places(places.data_root, places.build_dir, entry.folder)
    if find_build(spec, places) is None:
        raise RequestError(
            f"--slices: {spec.dataset_id} is not built in these places: --data-root and --build-dir name "
            f"those of the run, or the command that made '{run.folder}' builds it again"
        )
    from fuxictr_qnn.data import open_dataset

    built = open_dataset(spec, places, log=lambda text: None, task=run.experiment["fit"]["task"])
    if built.fingerprint != run.record.data_fingerprint:
        raise RequestError(
            f"--slices: {spec.dataset_id} is other data here (fingerprint {built.fingerprint}) than that of "
            f"'{run.folder}' ({run.record.data_fingerprint}): --data-root names its data"
        )
    if built.test is None:
        raise RequestError(f"--slices: {spec.dataset_id} has no test split")
    return built


def _check(features: Sequence[str], feature_map: Any, dataset_id: str) -> None:
    known = feature_map.features
    problems = [
        f"--slices {name}: not a feature of {dataset_id}.{nearest(name, known)}"
        for name in features
        if name not in known
    ]
    problems += [
        f"--slices {name}: a {known[name]['type']} holds several values a row; name a feature with one"
        for name in features
        if name in known and known[name]["type"] in ("sequence", "embedding")
    ]
    if problems:
        raise RequestError(problems)


def _tokens_of(ids: np.ndarray, vocabulary: Tokens) -> list[str]:
    table = vocabulary.table.filter(vocabulary.table["id"].is_in(ids.tolist()))
    found = dict(zip(table["id"].to_list(), table["token"].to_list(), strict=True))
    said = {"__OOV__": UNSEEN, "__PAD__": "(none)"}
    found |= {number: said[mark] for mark, number in vocabulary.special.items()}
    return [found.get(number, f"id {number}") for number in ids.tolist()]


def _bucket_names(ids: np.ndarray, state: dict[str, Any] | None) -> list[str]:
    """Of the buckets that a build made, else of ids whose meaning nobody kept."""
    if state is None:
        return [f"id {number}" for number in ids]
    bounds = state.get("boundaries")
    count = state.get("num_buckets", len(bounds or ()) + 1)
    names = [f"bucket {number}" for number in range(count + 2)]
    if bounds is not None:
        names = ["(none)", *_between(bounds), "(none)"]
    names[-1] = "(missing)"
    return [names[number] for number in ids]


def _between(cuts: Sequence[float]) -> list[str]:
    """The ranges that rising cut points leave."""
    if not len(cuts):
        return ["all values"]
    edges = _told_apart(cuts)
    inner = [
        f"{low} < x \N{LESS-THAN OR EQUAL TO} {high}" for low, high in zip(edges, edges[1:], strict=False)
    ]
    return [f"x \N{LESS-THAN OR EQUAL TO} {edges[0]}", *inner, f"x > {edges[-1]}"]


def _told_apart(numbers: Sequence[float]) -> list[str]:
    """Different numbers with as few digits as keep them different, six at least: timestamps need more."""
    for digits in range(6, 18):  # 17 digits tell all float64 apart
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(texts):
            break
    return texts


def _ranges(feature: str, column: np.ndarray) -> Values:
    """Ranges of about as many rows each; numbers are as training saw them, after their normalizer."""
    cuts = np.unique(np.quantile(column, np.linspace(0, 1, RANGES + 1)[1:-1], method="inverted_cdf"))
    cuts = cuts[cuts < column.max()]
    return Values(feature, np.searchsorted(cuts, column), _between(cuts), None, True)
