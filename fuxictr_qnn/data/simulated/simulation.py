"""What simulated datasets share: they are written on first use, and their best possible metrics are known.

A generator is a module with
    VERSION          a number, raised with every change of what is simulated
    LABEL            the name of the label
    ROWS             split -> number of rows
    PATHS            dataset key -> name of the file that it stands for
    simulate(split)  the rows of "train", "valid" or "test" and their click probabilities
    files()          name and content of every file
"""

from __future__ import annotations

import importlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.places import Places, user_cache
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import is_writable, locked, write_bytes, write_json


@dataclass(frozen=True)
class Impressions:
    """Rows of a log and the probability of a click on each, shape (rows,)."""

    frame: pl.DataFrame
    probability: np.ndarray


def generator(name: str) -> Any:
    """The module behind the dataset key `generator`; imported only where it is needed."""
    return importlib.import_module(f"fuxictr_qnn.data.simulated.{name}")


def parquet(frame: pl.DataFrame) -> bytes:
    """The contents of a parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def write_simulated(spec: DatasetSpec, places: Places, log: Log) -> DatasetSpec:
    """Write the files of the config's generator, unless they are there; returns the config that names them.

    They go under the data root, or into the user's cache folder where that cannot be written.

    Raises:
        RequestError: neither place can be written.
        RunError: the disk failed or is full.
    """
    source = generator(spec.generator)
    folders = _folders(spec, places)
    folder = next((place for place in folders if _is_complete(place, source) or is_writable(place)), None)
    if folder is None:
        tried = " or ".join(f"'{place}'" for place in folders)
        raise RequestError(f"cannot write the simulated data to {tried}: set --data-root to a folder you own")
    if not _is_complete(folder, source):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / ".simulating.lock"):
                if not _is_complete(folder, source):
                    log(f"simulating a click log of {sum(source.ROWS.values()):,} impressions in {folder}")
                    _write(folder, source)
        except OSError as error:
            raise RunError(f"writing the simulated data to '{folder}' failed: {error}") from error
    return _in_folder(spec, folder, source)


def find_simulated(spec: DatasetSpec, places: Places) -> DatasetSpec | None:
    """The config that names the files, if they have been written."""
    source = generator(spec.generator)
    folder = next((place for place in _folders(spec, places) if _is_complete(place, source)), None)
    return None if folder is None else _in_folder(spec, folder, source)


def _folders(spec: DatasetSpec, places: Places) -> list[Path]:
    return [root.absolute() / spec.dataset_id for root in (places.data_root, user_cache())]


def _in_folder(spec: DatasetSpec, folder: Path, source: Any) -> DatasetSpec:
    """The config with the paths of the files; a split that it sets to null stays out."""
    wanted = {key: name for key, name in source.PATHS.items() if getattr(spec, key)} or source.PATHS
    return spec.model_copy(update={key: str(folder / name) for key, name in wanted.items()})


def _is_complete(folder: Path, source: Any) -> bool:
    """Whether the files are there as this version of the simulation writes them."""
    try:
        written = json.loads((folder / "simulation.json").read_text())
        same_size = all((folder / name).stat().st_size == size for name, size in written["files"].items())
        return same_size and written["version"] == source.VERSION
    except (OSError, ValueError, KeyError):
        return False


def _write(folder: Path, source: Any) -> None:
    sizes = {}
    for name, content in source.files():
        write_bytes(folder / name, content)
        sizes[name] = len(content)
    write_json(folder / "simulation.json", {"version": source.VERSION, "files": sizes})


def best_possible(name: str, split: str = "test") -> dict[str, float]:
    """AUC and logloss of a generator's true click probabilities: no model can expect to do better."""
    source = generator(name)
    impressions = source.simulate(split)
    clicked = impressions.frame[source.LABEL].to_numpy() == 1
    p = impressions.probability
    ranks = pl.Series(p).rank("average").to_numpy()
    positives, negatives = int(clicked.sum()), int((~clicked).sum())
    auc = (ranks[clicked].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    logloss = -np.log(np.where(clicked, p, 1 - p)).mean()
    return {"AUC": float(auc), "logloss": float(logloss)}
