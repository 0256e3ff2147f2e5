"""From raw files to a build: id-encoded parquet, FuxiCTR's feature_map.json and feature_vocab.json.

A build is a folder `built-<fingerprint>` that appears complete or not at all. Two passes over the raw
data, both in blocks of rows: a survey (checks, counts), then the encoding of one split after another.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from fuxictr_qnn.data.building.encoding import SplitFiles, encode_source
from fuxictr_qnn.data.building.fitting import Fitted, fit
from fuxictr_qnn.data.building.preprocessing import Preprocessing
from fuxictr_qnn.data.building.ray import encode_with_ray, require_ray
from fuxictr_qnn.data.building.rows import Rows, RowsFile
from fuxictr_qnn.data.building.survey import Survey, survey
from fuxictr_qnn.data.building.threads import ahead
from fuxictr_qnn.data.checks import check_config, check_types
from fuxictr_qnn.data.dataset import SPLITS, BuiltDataset, Log
from fuxictr_qnn.data.feature_map import describe, pretrained_name
from fuxictr_qnn.data.fingerprint import FACTS, PATHS, ContentHashes, fingerprint
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import Inputs
from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.raw.splits import Source, find_sources
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.data.vocabulary import write_vocabularies
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import lock_if_free, locked, new_folder, publish_folder, write_json

Engine = Literal["local", "ray"]


def build_dataset(
    spec: DatasetSpec,
    places: Places,
    *,
    task: str = "binary_classification",
    log: Log = print,
    engine: Engine = "local",
) -> BuiltDataset:
    """Build the dataset, or find the build that the same config and files already have.

    Args:
        task: with "regression" labels may be any number, else they must be 0 or 1.
        log: gets a line before long work.
        engine: what encodes the rows, this process or FuxiCTR's code on Ray; the build is the same.

    Raises:
        RequestError: everything that is wrong with config, files or values; nothing is written then.
        RunError: the disk failed or is full, or a file changed meanwhile.
    """
    started = time.perf_counter()
    check_config(spec)
    if engine == "ray":
        require_ray()
    inputs = Inputs.find(spec, places)
    root = places.build_root(spec.dataset_id)
    try:
        hashes = ContentHashes(root)
        stamps = inputs.stamps()
        contents = inputs.contents(hashes)
        key = fingerprint(spec, contents)
        folder = root / f"built-{key}"
        job = _Job(spec, inputs, stamps, task, engine, folder, root / f".building-{key}")
        reused = is_complete(folder) or _build_or_wait(job, log)
        hashes.save()
    except OSError as error:
        raise RunError(f"building {spec.dataset_id} in '{root}' failed: {error}") from error
    facts = json.loads((folder / "build.json").read_text())
    if problems := _label_problems(facts["not_binary"], task):
        raise RequestError(problems)
    splits = {split: folder / f"{split}.parquet" if split in spec.split_names else None for split in SPLITS}
    return BuiltDataset(
        dataset_id=spec.dataset_id,
        folder=folder,
        feature_map=folder / "feature_map.json",
        **splits,
        fingerprint=key,
        reused=reused,
        seconds=time.perf_counter() - started,
        warnings=_same_rows(inputs.splits, contents),
        facts=facts,
    )


def is_complete(folder: Path) -> bool:
    """Whether a build is there with every file it was published with."""
    try:
        sizes = json.loads((folder / "build.json").read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


@dataclass(frozen=True)
class _Job:
    """A build to be made: from what, where it will be, and where it grows.

    Attributes:
        stamps: of the inputs, from before they were hashed.
    """

    spec: DatasetSpec
    inputs: Inputs
    stamps: dict[Path, tuple[int, ...]]
    task: str
    engine: Engine
    folder: Path
    temporary: Path

    @property
    def lock(self) -> Path:
        return _lock_of(self.temporary)


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + ".lock")


def _build_or_wait(job: _Job, log: Log) -> bool:
    """Build under the lock of this fingerprint; True if another process did it meanwhile."""
    waiting = f"waiting for another process that builds {job.folder}"
    with new_folder(job.folder.parent), locked(job.lock, on_wait=lambda: log(waiting)):
        if is_complete(job.folder):
            return True
        _remove_leftovers(job)
        log(f"building {job.spec.dataset_id} into {job.folder}")
        _build(job)
        return False


def _build(job: _Job) -> None:
    """Survey, fit, encode; all files grow in the temporary folder, which is then renamed."""
    started = time.perf_counter()
    files = {split: RawFiles(files, job.spec) for split, files in job.inputs.splits.items()}
    raw = files["train"].schema()
    # In every file a column without a declared type has the type of the first rows of training.
    files = {split: RawFiles(files, job.spec, raw) for split, files in job.inputs.splits.items()}
    preprocessing = Preprocessing(job.spec, raw)
    check_types(job.spec, preprocessing.outputs, raw)
    sources = find_sources(job.spec, files)
    job.temporary.mkdir()
    try:
        kept = {source.split: RowsFile(job.temporary / f"{source.split}.rows") for source in sources}
        found = _survey(job, sources, preprocessing, kept)
        fitted = _fit_and_check(job, found)
        shutil.rmtree(job.folder, ignore_errors=True)  # there only if it is damaged
        with SplitFiles(job.temporary) as target:
            encode = encode_with_ray if job.engine == "ray" else encode_here
            blocks = [(source, kept[source.split].read()) for source in sources]
            encode(blocks, fitted, job.spec, target.write)
        _write_descriptions(job, preprocessing, fitted)
        facts = _facts(found, job.temporary, time.perf_counter() - started)
        write_json(job.temporary / "build.json", facts)
        _refuse_changed(job)
        publish_folder(job.temporary, job.folder)
    except BaseException:
        shutil.rmtree(job.temporary, ignore_errors=True)
        raise


def _refuse_changed(job: _Job) -> None:
    """The build is named by the inputs' hashes: they must still be the files that were hashed.

    Raises:
        RunError: one is not.
    """
    now = job.inputs.stamps()
    changed = [f"'{file}'" for file, stamp in job.stamps.items() if now[file] != stamp]
    if changed:
        raise RunError(f"{' and '.join(changed)} changed while it was being built: run again")


def _survey(
    job: _Job, sources: list[Source], preprocessing: Preprocessing, kept: dict[str, RowsFile]
) -> Survey:
    with ExitStack() as stack:
        write = {split: stack.enter_context(file.writing()) for split, file in kept.items()}
        return survey(job.spec, sources, preprocessing, lambda source, rows: write[source.split](rows))


def encode_here(
    blocks: list[tuple[Source, Iterator[Rows]]],
    fitted: Fitted,
    spec: DatasetSpec,
    write: Callable[[str, pa.Table], None],
) -> None:
    """The local engine: one block after another in this process."""
    encoders = fitted.encoders()
    for source, rows in blocks:
        for split, table in ahead(encode_source(source, rows, encoders, spec)):
            write(split, table)


def _fit_and_check(job: _Job, found: Survey) -> Fitted:
    problems = _label_problems(found.not_binary, job.task)
    try:
        fitted = fit(job.spec, found, job.inputs.pretrained)
    except RequestError as error:
        raise RequestError(problems + error.problems) from error
    if problems:
        raise RequestError(problems)
    return fitted


def _write_descriptions(job: _Job, preprocessing: Preprocessing, fitted: Fitted) -> None:
    """What FuxiCTR needs beside the rows, and what encodes a new row as this build did."""
    for column in job.spec.active_columns:
        if column.name in job.inputs.pretrained:
            shutil.copyfile(job.inputs.pretrained[column.name], job.temporary / pretrained_name(column))
    write_vocabularies(job.temporary / "feature_vocab.json", fitted.stored_vocabularies())
    feature_map = describe(job.spec, fitted.ids, fitted.max_len)
    write_json(job.temporary / "feature_map.json", feature_map, indent=4)
    dataset = job.spec.model_dump(mode="json", exclude=PATHS | FACTS)
    types = {"raw": preprocessing.raw, "types": preprocessing.outputs}
    texts = {key: {name: str(dtype) for name, dtype in schema.items()} for key, schema in types.items()}
    write_json(job.temporary / "preprocessing.json", {"dataset": dataset, **texts, **fitted.state()})


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


def _label_problems(not_binary: dict[str, str], task: str) -> list[str]:
    """Labels other than 0 and 1, unless the task is a regression."""
    return [] if task == "regression" else list(not_binary.values())


def _same_rows(files: dict[str, list[Path]], contents: dict[str, list[str]]) -> list[str]:
    """A sentence for each pair of splits with the same contents."""
    splits = list(files)
    return [
        f"{later}_data and {first}_data hold the same rows ('{files[later][0]}'): "
        f"results on {later} say nothing about unseen data"
        for at, first in enumerate(splits)
        for later in splits[at + 1 :]
        if contents[first] == contents[later]
    ]


def _remove_leftovers(job: _Job) -> None:
    """Delete half-made builds whose process is gone, and its lock. The caller holds the job's lock."""
    for leftover in {path.with_suffix("") for path in job.folder.parent.glob(".building-*")}:
        if leftover == job.temporary:
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with lock_if_free(_lock_of(leftover)) as held:
                if held:
                    shutil.rmtree(leftover, ignore_errors=True)
