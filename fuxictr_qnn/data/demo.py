"""A simulated click log whose click probabilities are known, and so the best AUC that any model can reach.

An impression is a user, an item and a context; a few users and items make most of them (Zipf). The
logit is a sum of planted terms: an effect of each value (which a linear model finds), products of two
fields (factorization machines) and products of three (deep and quadratic networks).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from fuxictr_qnn.data.build import Log
from fuxictr_qnn.data.places import Places, user_cache
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import is_writable, locked, write_bytes, write_json

VERSION = 1  # raise it with every change of what is simulated
SEED = 2025
ROWS = {"train": 100_000, "valid": 25_000, "test": 25_000}

# field -> number of values and exponent of the Zipf law of their frequencies (0: uniform)
FIELDS = {
    "user": (800, 0.6),
    "age": (7, 0.3),
    "city": (30, 0.8),
    "item": (300, 0.8),
    "category": (10, 0.4),
    "device": (4, 0.5),
    "hour": (24, 0.0),
    "position": (6, 0.5),
}
# fields whose latent factors are multiplied, and the weight of the product in the logit
TERMS = {
    ("user",): 0.35,
    ("city",): 0.2,
    ("item",): 0.45,
    ("position",): 0.4,
    ("age", "category"): 0.6,
    ("city", "device"): 0.45,
    ("user", "category"): 0.45,
    ("age", "category", "hour"): 0.9,
    ("device", "category", "position"): 0.9,
}
BIAS = -0.9


@dataclass(frozen=True)
class Impressions:
    """Rows of the log and the probability of a click on each, shape (rows,)."""

    frame: pl.DataFrame
    probability: np.ndarray


@cache
def simulate(split: str) -> Impressions:
    """The rows of "train", "valid" or "test": always the same ones."""
    world = np.random.default_rng(SEED)
    frequencies = {field: _zipf(size, exponent) for field, (size, exponent) in FIELDS.items()}
    factors = {term: [_factor(world, frequencies[field]) for field in term] for term in TERMS}
    draws = np.random.default_rng([SEED, list(ROWS).index(split)])
    rows = ROWS[split]
    values = {field: draws.choice(len(p), rows, p=p) for field, p in frequencies.items()}
    logit = np.full(rows, BIAS)
    for term, weight in TERMS.items():
        products = [factor[values[field]] for field, factor in zip(term, factors[term], strict=True)]
        logit += weight * np.prod(products, axis=0)
    probability = 1 / (1 + np.exp(-logit))
    click = (draws.random(rows) < probability).astype(np.int8)
    return Impressions(pl.DataFrame({"click": click, **values}), probability)


def _zipf(size: int, exponent: float) -> np.ndarray:
    weights = np.arange(1, size + 1) ** -exponent
    return weights / weights.sum()


def _factor(world: np.random.Generator, frequency: np.ndarray) -> np.ndarray:
    """A number for each value of a field, of mean 0 and variance 1 over the impressions.

    Mean 0 makes a product of factors a pure interaction: no term of lower order explains any of it.
    """
    raw = world.normal(size=len(frequency))
    centred = raw - frequency @ raw
    return centred / np.sqrt(frequency @ centred**2)


def write_demo(spec: DatasetSpec, places: Places, log: Log) -> DatasetSpec:
    """Write the log as CSV under the data root, unless it is there; returns the config that names it.

    Beside each <split>.csv stands <split>_probability.parquet, the click probabilities of its rows.

    Raises:
        RequestError: neither the data root nor the user's cache folder can be written.
        RunError: the disk failed or is full.
    """
    folders = _folders(spec, places)
    folder = next((place for place in folders if _is_complete(place) or is_writable(place)), None)
    if folder is None:
        tried = " or ".join(f"'{place}'" for place in folders)
        raise RequestError(f"cannot write the demo data to {tried}: set --data-root to a folder you own")
    if not _is_complete(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / ".simulating.lock"):
                if not _is_complete(folder):
                    log(f"simulating a click log of {sum(ROWS.values()):,} impressions in {folder}")
                    _write(folder)
        except OSError as error:
            raise RunError(f"writing the demo data to '{folder}' failed: {error}") from error
    return _in_folder(spec, folder)


def find_demo(spec: DatasetSpec, places: Places) -> DatasetSpec | None:
    """The config that names the files, if they have been written."""
    folder = next(filter(_is_complete, _folders(spec, places)), None)
    return None if folder is None else _in_folder(spec, folder)


def _folders(spec: DatasetSpec, places: Places) -> list[Path]:
    return [root.absolute() / spec.dataset_id for root in (places.data_root, user_cache())]


def _in_folder(spec: DatasetSpec, folder: Path) -> DatasetSpec:
    return spec.model_copy(update={f"{split}_data": str(folder / f"{split}.csv") for split in ROWS})


def _is_complete(folder: Path) -> bool:
    """Whether the files are there as this version of the simulation writes them."""
    try:
        written = json.loads((folder / "simulation.json").read_text())
        same_size = all((folder / name).stat().st_size == size for name, size in written["files"].items())
        return same_size and written["version"] == VERSION
    except (OSError, ValueError, KeyError):
        return False


def _write(folder: Path) -> None:
    files: dict[str, bytes] = {}
    for split in ROWS:
        impressions = simulate(split)
        files[f"{split}.csv"] = impressions.frame.write_csv().encode()
        parquet = io.BytesIO()
        pl.DataFrame({"probability": impressions.probability}).write_parquet(parquet)
        files[f"{split}_probability.parquet"] = parquet.getvalue()
    for name, content in files.items():
        write_bytes(folder / name, content)
    sizes = {name: len(content) for name, content in files.items()}
    write_json(folder / "simulation.json", {"version": VERSION, "files": sizes})


def best_possible(split: str = "test") -> dict[str, float]:
    """AUC and logloss of the true click probabilities: no model can expect to do better."""
    impressions = simulate(split)
    clicked = impressions.frame["click"].to_numpy() == 1
    p = impressions.probability
    ranks = np.empty(len(p))
    ranks[np.argsort(p)] = np.arange(1, len(p) + 1)
    positives, negatives = clicked.sum(), (~clicked).sum()
    auc = (ranks[clicked].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    logloss = -np.log(np.where(clicked, p, 1 - p)).mean()
    return {"AUC": float(auc), "logloss": float(logloss)}
