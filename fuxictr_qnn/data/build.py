"""From raw files to a build: id-encoded parquet, FuxiCTR's feature_map.json and feature_vocab.json.

A build is a folder `built-<fingerprint>` that appears complete or not at all. Two passes over the raw
data, both in blocks of rows: a survey (checks, counts), then the encoding of one split after another.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fuxictr_qnn.data.checks import check_config, check_types
from fuxictr_qnn.data.encoding import Encoder, Scaler, encode_split, make_encoder
from fuxictr_qnn.data.feature_map import describe, pretrained_name
from fuxictr_qnn.data.fingerprint import ContentHashes, fingerprint
from fuxictr_qnn.data.places import Places, find_raw_files
from fuxictr_qnn.data.preprocessing import Preprocessing
from fuxictr_qnn.data.reading import RawFiles
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.survey import Survey, survey
from fuxictr_qnn.data.vocabulary import Vocabulary, pretrained_keys, write_vocabularies
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import lock_if_free, locked, publish_folder, write_json

Log = Callable[[str], None]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class BuiltDataset:
    """An encoded dataset on disk.

    Attributes:
        folder: holds feature_map.json and, if it was built here, everything else.
        train, valid, test: encoded data, a file or a folder of part files; None where there is none.
        fingerprint: of the config and the input files; names the build.
        reused: whether the build was there before.
        seconds: time to build, or to check the existing build.
        facts: rows and positive rate per split, time of the build ... (build.json).
    """

    dataset_id: str
    folder: Path
    feature_map: Path
    train: Path | None
    valid: Path | None
    test: Path | None
    fingerprint: str
    reused: bool
    seconds: float
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def build_dataset(
    spec: DatasetSpec, places: Places, *, task: str = "binary_classification", log: Log = print
) -> BuiltDataset:
    """Build the dataset, or find the build that the same config and files already have.

    Args:
        task: with "regression" labels may be any number, else they must be 0 or 1.

    Raises:
        RequestError: everything that is wrong with config, files or values; nothing is written then.
        RunError: the disk failed or is full.
    """
    started = time.perf_counter()
    check_config(spec)
    files = find_raw_files(spec, places)
    pretrained = _find_pretrained(spec, places)
    root = places.build_root(spec.dataset_id)
    try:
        hashes = ContentHashes(root)
        contents = {split: [hashes.of(file) for file in found] for split, found in files.items()}
        contents |= {f"pretrained {name}": [hashes.of(file)] for name, file in pretrained.items()}
        hashes.save()
        key = fingerprint(spec, contents)
        folder = root / f"built-{key}"
        reused = is_complete(folder)
        if not reused:
            waiting = f"another process is building {spec.dataset_id}: waiting for it"
            with locked(root / f".building-{key}.lock", on_wait=lambda: log(waiting)):
                reused = is_complete(folder)
                if not reused:
                    _remove_leftovers(root, key)
                    log(f"building {spec.dataset_id} into {folder}")
                    _build(spec, files, pretrained, root / f".building-{key}", folder, task)
    except OSError as error:
        raise RunError(f"building {spec.dataset_id} in '{root}' failed: {error}") from error
    facts = json.loads((folder / "build.json").read_text())
    check_task(facts["not_binary"], task)
    built = {split: folder / f"{split}.parquet" if split in files else None for split in SPLITS}
    return BuiltDataset(
        dataset_id=spec.dataset_id,
        folder=folder,
        feature_map=folder / "feature_map.json",
        **built,
        fingerprint=key,
        reused=reused,
        seconds=time.perf_counter() - started,
        warnings=_same_files(files, contents),
        facts=facts,
    )


def is_complete(folder: Path) -> bool:
    """Whether a build is there with every file it was published with."""
    try:
        sizes = json.loads((folder / "build.json").read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def check_task(not_binary: dict[str, str], task: str) -> None:
    """Refuse labels other than 0 and 1 unless the task is a regression."""
    if task != "regression" and not_binary:
        raise RequestError(not_binary.values())


def _build(
    spec: DatasetSpec,
    files: dict[str, list[Path]],
    pretrained: dict[str, Path],
    temporary: Path,
    folder: Path,
    task: str,
) -> None:
    started = time.perf_counter()
    splits = {split: RawFiles(found, spec) for split, found in files.items()}
    preprocessing = Preprocessing(spec, splits["train"].schema())
    check_types(spec, preprocessing.outputs)
    found = survey(spec, splits, preprocessing)
    check_task(found.not_binary, task)
    vocabularies = _make_vocabularies(spec, found, pretrained)
    scalers = {
        column.name: Scaler.fit(column.normalizer, found.moments[column.name])
        for column in spec.active_columns
        if column.name in found.moments and column.normalizer
    }
    max_len = {column.name: column.max_len or found.longest.get(column.name, 0) for column in spec.active_columns}
    encoders: dict[str, Encoder] = {
        column.name: make_encoder(
            column, vocabularies.get(column.name), scalers.get(column.name), max_len[column.name]
        )
        for column in spec.active_columns
    }
    shutil.rmtree(folder, ignore_errors=True)  # a damaged build
    temporary.mkdir()
    try:
        for split, raw in splits.items():
            encode_split(raw, preprocessing, encoders, spec, temporary / f"{split}.parquet")
        for column in spec.active_columns:
            if column.name in pretrained:
                shutil.copyfile(pretrained[column.name], temporary / pretrained_name(column))
        stored = {column.name: vocabularies[column.name] for column in spec.active_columns if column.has_vocabulary}
        write_vocabularies(temporary / "feature_vocab.json", stored)
        write_json(temporary / "feature_map.json", describe(spec, vocabularies, max_len), indent=4)
        write_json(temporary / "preprocessing.json", _preprocessing_state(spec, preprocessing, scalers, max_len))
        write_json(temporary / "build.json", _facts(found, temporary, time.perf_counter() - started))
        publish_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _make_vocabularies(spec: DatasetSpec, found: Survey, pretrained: dict[str, Path]) -> dict[str, Vocabulary]:
    """In FuxiCTR's order: one column after another with its share, then pretrained keys."""
    vocabularies: dict[str, Vocabulary] = {}
    problems = []
    for column in spec.active_columns:
        if column.name not in found.counts:
            continue
        min_count = 1 if column.type == "meta" else column.min_categr_count or spec.min_categr_count
        na_value = "" if column.fill_na is None or column.type == "meta" else column.fill_na
        counts = found.counts.pop(column.name).table()
        vocabulary = Vocabulary.from_counts(counts, min_count, na_value)
        if not len(vocabulary.tokens):
            problems.append(_empty_vocabulary(column, min_count, counts))
        if column.share_embedding in vocabularies:
            vocabularies[column.share_embedding].merge(vocabulary)
            vocabulary = vocabularies[column.share_embedding]
        vocabularies[column.name] = vocabulary
    for name, file in pretrained.items():
        dtype = next(column.dtype for column in spec.active_columns if column.name == name)
        try:
            vocabularies[name].expand(pretrained_keys(file, dtype))
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
            problems.append(f"pretrained_emb of column '{name}': '{file}' has no usable keys ({error!r})")
    if problems:
        raise RequestError(problems)
    return vocabularies


def _empty_vocabulary(column: ColumnSpec, min_count: int, counts: pl.DataFrame) -> str:
    most = counts["count"].max() or 0
    remedy = "lower min_categr_count or set active: false" if most < min_count else "set active: false"
    return (
        f"column '{column.name}': no value is left in its vocabulary with min_categr_count {min_count} "
        f"(the most frequent value occurs {most} times): {remedy}"
    )


def _preprocessing_state(
    spec: DatasetSpec, preprocessing: Preprocessing, scalers: dict[str, Scaler], max_len: dict[str, int]
) -> dict[str, Any]:
    """What, beside the vocabularies, encodes a new row as this build did."""
    return {
        "dataset": spec.model_dump(mode="json", exclude={"source", "data_root"}),
        "normalizers": {name: asdict(scaler) for name, scaler in scalers.items()},
        "max_len": {column.name: max_len[column.name] for column in spec.active_columns if column.type == "sequence"},
        "token_types": {name: str(dtype) for name, dtype in preprocessing.outputs.items()},
    }


def _facts(found: Survey, temporary: Path, seconds: float) -> dict[str, Any]:
    positive_rate = {
        split: {label: total / found.rows[split] for label, total in sums.items()}
        for split, sums in found.label_sums.items()
    }
    return {
        "rows": found.rows,
        "positive_rate": positive_rate,
        "not_binary": found.not_binary,
        "seconds": round(seconds, 3),
        "files": {path.name: path.stat().st_size for path in sorted(temporary.iterdir())},
    }


def _find_pretrained(spec: DatasetSpec, places: Places) -> dict[str, Path]:
    found, problems = {}, []
    for column in spec.active_columns:
        if column.pretrained_emb:
            place = places.find(column.pretrained_emb, spec.dataset_id)
            if place is not None and place.is_file():
                found[column.name] = place
            else:
                looked = "\n".join(f"    {path}" for path in places.candidates(column.pretrained_emb, spec.dataset_id))
                problems.append(f"pretrained_emb of column '{column.name}' is at none of\n{looked}")
    if problems:
        raise RequestError(problems)
    return found


def _same_files(files: dict[str, list[Path]], contents: dict[str, list[str]]) -> list[str]:
    """A loud sentence for each pair of splits with the same contents."""
    splits = list(files)
    return [
        f"{later}_data and {first}_data hold the same rows ('{files[later][0]}'): "
        f"results on {later} say nothing about unseen data"
        for at, first in enumerate(splits)
        for later in splits[at + 1 :]
        if contents[first] == contents[later]
    ]


def _remove_leftovers(root: Path, key: str) -> None:
    """Delete half-made builds whose process is gone. The caller holds the lock of `key`."""
    for leftover in root.glob(".building-*"):
        if not leftover.is_dir():
            continue
        if leftover.name == f".building-{key}":
            shutil.rmtree(leftover, ignore_errors=True)
            continue
        with lock_if_free(leftover.with_name(leftover.name + ".lock")) as held:
            if held:
                shutil.rmtree(leftover, ignore_errors=True)
