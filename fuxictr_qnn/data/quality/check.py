"""A dataset against what its config expects: files, rows, positive rates, and the vocabularies of a build."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.checksum import line_ends, md5_of
from fuxictr_qnn.data.download.plan import download_hint, home_of
from fuxictr_qnn.data.lookup import find_built
from fuxictr_qnn.data.open import open_dataset
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.facts import Checked, Fact, compare_counts, compare_rates, unchecked
from fuxictr_qnn.data.raw.inputs import find_raw_files
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError

NOT_BUILT = "it is not built; --build builds it"
HOLDS_IDS = "its files hold ids already"
NOT_THERE = "the file is missing"


def check_dataset(spec: DatasetSpec, places: Places, *, build: bool = False, log: Log = print) -> Checked:
    """Compare a dataset's files, and the build made from them if there is one, with its `expected`.

    Args:
        build: build it where there is no build yet.
        log: gets a line before long work.

    Raises:
        RequestError: nothing is expected of it, or none of its files is there; with `build`, whatever
            keeps it from being built. RunError: reading or building failed.
    """
    if spec.expected is None:
        raise RequestError(
            f"{spec.source}, {spec.dataset_id}: expected is not set, so there is nothing to compare it with; "
            "`fuxictr data audit` needs no such facts"
        )
    paths = list(spec.split_paths.values())
    if not any(places.find(path, spec.dataset_id) for path in paths):
        where = places.not_found(
            f"none of {', '.join(paths)} is there; train_data", paths[0], spec.dataset_id
        )
        raise RequestError(where + download_hint(spec, places))
    try:
        built = _open_build(spec, places, build, log)
        facts = [*_files(spec, places, log), *_rows(spec, places, built, log), *_vocabularies(spec, built)]
    except OSError as error:
        raise RunError(f"reading the files of {spec.dataset_id} failed: {error}") from error
    return Checked(facts, spec.expected.note)


def _files(spec: DatasetSpec, places: Places, log: Log) -> Iterator[Fact]:
    """Whether each file of the config is there, and each with a published md5 has it."""
    home = home_of(spec)
    paths = [*spec.split_paths.values(), spec.item_info, spec.item_features]
    named = {path.removeprefix(f"{home}/"): path for path in paths if path}
    for name in dict.fromkeys([*named, *spec.expected.md5]):
        path, md5 = named.get(name, f"{home}/{name}"), spec.expected.md5.get(name)
        what, file = f"file {path}", places.find(path, spec.dataset_id)
        if file is None and name in named:
            yield Fact(what, md5 or "there", "", NOT_THERE, agrees=False)
        elif file is None:
            yield Fact(what, md5, "", "not checked: it is not there (any more)")
        elif md5 is None or file.is_dir():
            yield Fact(what, "there", "there", agrees=True)
        else:
            log(f"reading {file} for its md5")
            yield _compare_md5(what, md5, file)


def _compare_md5(what: str, expected: str, file: Path) -> Fact:
    found = md5_of(file)
    if found == expected:
        return Fact(what, expected, found, agrees=True)
    ends = line_ends(file, expected)
    remark = f"matches with {ends} line ends" if ends else "other contents"
    return Fact(what, expected, found, remark, agrees=ends is not None)


def _rows(spec: DatasetSpec, places: Places, built: _Build | None, log: Log) -> Iterator[Fact]:
    """Rows and positive rate of each split: of its files, or of the build where that divides train_data."""
    for split in spec.split_names:
        path = spec.split_paths.get(split)
        if spec.divided:
            counted = built.rows(split) if built else NOT_BUILT
        elif places.find(path, spec.dataset_id) is None:
            counted = NOT_THERE
        else:
            log(f"counting the rows of {path}")
            counted = _count(spec, path, places)
        yield from _compare_rows(spec, split, counted)


def _compare_rows(spec: DatasetSpec, split: str, counted: _Rows | RequestError | str) -> Iterator[Fact]:
    """`counted` may also be why nothing was counted, or what is wrong with the file."""
    rows, rate = f"rows of {split}", f"positive rate of {split}"
    expected = spec.expected.rows.get(split), spec.expected.positive_rate.get(split)
    if isinstance(counted, RequestError):
        wanted = "" if expected[0] is None else f"{expected[0]:,}"
        yield Fact(rows, wanted, "", counted.problems[0], agrees=False)
    elif isinstance(counted, str):
        yield from unchecked(rows, expected[0], counted)
        yield from unchecked(rate, expected[1], counted)
    else:
        yield compare_counts(rows, expected[0], counted.count)
        yield compare_rates(rate, expected[1], counted.positives / counted.count if counted.count else 0.0)


@dataclass(frozen=True)
class _Rows:
    """Rows of a split, and the sum of their labels."""

    count: int
    positives: float


def _count(spec: DatasetSpec, path: str, places: Places) -> _Rows | RequestError | str:
    """Read a split's files for the label only."""
    if spec.data_format not in ("csv", "parquet"):
        return f"{spec.data_format} files are not counted"
    if not spec.label_col:
        return "the config names no label_col"
    label, count, positives = spec.label_col[0].name, 0, 0.0
    one_split = {"train_data": path, "valid_data": None, "test_data": None}
    try:
        files = find_raw_files(spec.model_copy(update=one_split), places)["train"]
        for block in RawFiles(files, spec).blocks([label]):
            count += block.frame.height
            positives += block.frame[label].cast(pl.Float64, strict=False).sum()
    except RequestError as error:
        return error
    return _Rows(count, positives)


def _vocabularies(spec: DatasetSpec, built: _Build | None) -> Iterator[Fact]:
    """Ids of each feature, with padding and OOV, and of all features where all are known."""
    expected = spec.expected.vocabulary
    if built is None and expected:
        known = f"{len(expected)} known, {sum(expected.values()):,} in all"
        reason = HOLDS_IDS if spec.is_encoded else NOT_BUILT
        yield Fact("ids of features", known, "", f"not checked: {reason}")
    if built is None:
        return
    for name, size in built.vocabulary.items():
        yield compare_counts(f"ids of {name}", expected.get(name), size)
    if set(expected) == set(built.vocabulary):
        yield compare_counts("ids of all features", sum(expected.values()), sum(built.vocabulary.values()))


@dataclass(frozen=True)
class _Build:
    """What is to be compared of a build.

    Attributes:
        facts: its build.json.
        vocabulary: ids of each feature that has a vocabulary.
    """

    spec: DatasetSpec
    facts: dict[str, Any]
    vocabulary: dict[str, int]

    @classmethod
    def read(cls, spec: DatasetSpec, folder: Path) -> _Build:
        features = json.loads((folder / "feature_map.json").read_text())["features"]
        sizes = {name: feature.get("vocab_size") for entry in features for name, feature in entry.items()}
        facts = json.loads((folder / "build.json").read_text())
        return cls(spec, facts, {name: size for name, size in sizes.items() if size is not None})

    def rows(self, split: str) -> _Rows:
        count = self.facts["rows"][split]
        return _Rows(count, count * self.facts["positive_rate"][split][self.spec.label_col[0].name])


def _open_build(spec: DatasetSpec, places: Places, build: bool, log: Log) -> _Build | None:
    """The build that belongs to this config and these files; None where there is none."""
    if spec.is_encoded:
        return None
    try:
        folder = open_dataset(spec, places, log).folder if build else find_built(spec, places, log)
    except RequestError:
        if build:
            raise
        return None  # files are missing: said elsewhere
    return _Build.read(spec, folder) if folder else None
