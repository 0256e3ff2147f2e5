"""Raw files in and scores out, a block of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow.parquet as pq

from fuxictr_qnn.data.raw.reading import RawFiles
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import new_folder, obstacle, sync_file, sync_folder

INPUTS = {  # how each kind of file is read; of CSV the run's own separator counts where none is given
    ".csv": {"data_format": "csv"},
    ".txt": {"data_format": "csv"},
    ".tsv": {"data_format": "csv", "separator": "\t"},
    ".parquet": {"data_format": "parquet"},
}
SHARE = 1 / 8  # of a build's block: reading, encoding and scoring then overlap, in little memory
Write = Callable[[pl.DataFrame], None]


def check_data(file: Path) -> None:
    """RequestError unless there is a CSV or parquet file with something in it."""
    if file.is_dir():
        raise RequestError(f"--data {file}: is a folder; name a file")
    if not file.is_file():
        what = "is a pipe or device, which cannot be read twice" if file.exists() else "no such file"
        raise RequestError(f"--data {file}: {what}")
    if not os.access(file, os.R_OK):
        raise RequestError(f"--data {file}: may not be read")
    if not file.stat().st_size:
        raise RequestError(f"--data {file}: is empty (0 bytes)")
    if file.suffix.lower() not in INPUTS:
        raise RequestError(f"--data {file}: rows come as {', '.join(INPUTS)}; name such a file")


def is_csv(file: Path) -> bool:
    """Whether the types of a file's columns are up to its reader."""
    return INPUTS[file.suffix.lower()]["data_format"] == "csv"


def open_rows(file: Path, spec: DatasetSpec, types: Mapping[str, Any]) -> RawFiles:
    """The rows of a CSV or parquet file.

    Args:
        spec: of the run's own data, whose separator it has.
        types: what CSV columns are read as.
    """
    ours = {"feature_cols": [], "label_col": [], "weight_col": None, **INPUTS[file.suffix.lower()]}
    return RawFiles([file], spec.model_copy(update=ours), types, SHARE)


def check_target(to: Path, data: Path, force: bool) -> None:
    """RequestError where scores cannot or must not be written. Creates nothing."""
    problems = []
    if to.suffix.lower() not in WRITERS:
        problems.append(f"--to {to}: scores are written as {' or '.join(WRITERS)}; name such a file")
    if to.is_dir():
        problems.append(f"--to {to}: is a folder; name a file in it")
    elif to.exists() and to.resolve() == data.resolve():
        problems.append(f"--to {to}: is the file of --data; name another")
    elif to.exists() and not force:
        problems.append(f"--to {to}: exists already; --force replaces it")
    elif reason := obstacle(to.absolute().parent):
        problems.append(f"--to {to}: {reason}; choose a folder that you own")
    if problems:
        raise RequestError(problems)


@contextmanager
def written(
    to: Path, beside: Path | None = None, make: Callable[[Path, Path], None] | None = None
) -> Iterator[Write]:
    """A function that appends rows to a new file, which takes the name `to` when all is well.

    Args:
        beside: a second file, which gets its name at the same time.
        make: makes the second file of the first.

    Raises:
        RunError: the disk failed or is full; nothing of the new files is left then.
    """
    targets = [to, *([beside] if beside else [])]
    new = [target.with_name(f".{target.name}.{uuid4().hex}") for target in targets]
    try:
        with new_folder(to.absolute().parent):
            try:
                with WRITERS[to.suffix.lower()](new[0]) as write:
                    yield write
                if make:
                    make(*new)
                for file in new:
                    sync_file(file)
                for file, target in zip(new, targets, strict=True):
                    os.replace(file, target)
            except BaseException:
                for file in new:
                    file.unlink(missing_ok=True)
                raise
        sync_folder(to.absolute().parent)
    except OSError as error:
        raise RunError(f"writing '{to}' failed: {error}") from error


@contextmanager
def _csv(file: Path) -> Iterator[Write]:
    with open(file, "xb") as target:
        yield lambda frame: frame.write_csv(target, include_header=target.tell() == 0)


@contextmanager
def _parquet(file: Path) -> Iterator[Write]:
    writers: list[pq.ParquetWriter] = []

    def write(frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if not writers:
            writers.append(pq.ParquetWriter(file, table.schema, compression="zstd"))
        writers[0].write_table(table)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


WRITERS = {".csv": _csv, ".parquet": _parquet}
