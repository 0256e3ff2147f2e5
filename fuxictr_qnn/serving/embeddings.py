"""`fuxictr export --embeddings`: what a run has learnt of each token, as parquet."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import torch
from fuxictr.pytorch.layers.embeddings.feature_embedding import FeatureEmbeddingDict
from torch import nn

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import new_folder, publish_folder
from fuxictr_qnn.runs.saved import SavedRun
from fuxictr_qnn.serving.description import RawValues
from fuxictr_qnn.serving.fields import fields_of

MAIN = "vector"  # the column of the embeddings that the model's network reads
_MAIN_LAYER = "embedding_layer.embedding_layer"


@dataclass(frozen=True)
class Table:
    """The embeddings of a feature: how many ids, and the width of each kind of vector."""

    feature: str
    rows: int
    widths: dict[str, int]


def export_embeddings(run: SavedRun, to: Path, zoo: Path | None = None) -> list[Table]:
    """Write `to`/<feature>.parquet for each feature with ids: columns id, token and `vector`.

    Every id is there except the padding; that of unknown values has no token. Other tables of a model (linear
    weights, for instance) are further columns, by the name of their layer. What is at `to` is replaced; where
    that is a link, what it leads to.

    Args:
        zoo: the FuxiCTR checkout that the run's model is from.

    Raises:
        RequestError: a run that cannot be used, or whose model has no embeddings. RunError: writing failed.
    """
    model = run.model(-1, zoo)
    raw = RawValues(run, fields_of(model.feature_map))
    frames = {name: _frame(vectors, name, raw) for name, vectors in _vectors(model).items()}
    if not frames:
        raise RequestError(f"{run.name}: {run.experiment.model} has no embeddings of ids")
    folder = to.resolve()  # a renamed folder would take the place of a link, not of what it leads to
    try:
        with new_folder(folder.parent):
            _write(frames, folder)
    except (OSError, pl.exceptions.PolarsError) as error:  # of a full disk polars makes an error of its own
        raise RunError(f"writing '{to}' failed: {error}") from error
    return [
        Table(name, frame.height, {c: frame.schema[c].shape[0] for c in frame.columns[2:]})
        for name, frame in frames.items()
    ]


@torch.no_grad()
def _vectors(model: nn.Module) -> dict[str, dict[str, np.ndarray]]:
    """Feature -> name of the column -> (number of ids, E)."""
    found: dict[str, dict[str, np.ndarray]] = {}
    specs = model.feature_map.features
    for path, module in model.named_modules():
        if not isinstance(module, FeatureEmbeddingDict):
            continue
        column = (
            MAIN
            if path == _MAIN_LAYER
            else path.removesuffix(".embedding_layer").removesuffix(".embedding_layer")
        )
        for name, table in module.embedding_layers.items():
            if specs[name]["type"] in ("categorical", "sequence"):
                found.setdefault(name, {})[column] = _rows(table, specs[name]["vocab_size"])
    return found


def _rows(table: nn.Module, size: int) -> np.ndarray:
    """What a table gives for every id; also one that adds or joins a pretrained vector."""
    device = next(table.parameters()).device
    return table(torch.arange(size, device=device)).float().cpu().numpy()


def _frame(vectors: dict[str, np.ndarray], name: str, raw: RawValues) -> pl.DataFrame:
    """Columns id, token and the vectors, without the padding."""
    size = len(next(iter(vectors.values())))
    tokens: list[str | None] = [None] * size
    if vocabulary := raw.vocabularies.get(name):
        for token, number in zip(vocabulary.tokens.to_list(), vocabulary.ids.tolist(), strict=True):
            tokens[number] = token
    columns: dict[str, Any] = {
        "id": pl.Series(np.arange(1, size, dtype=np.int32)),
        "token": pl.Series(tokens[1:], dtype=pl.String),
    }
    for column, values in sorted(vectors.items(), key=lambda item: item[0] != MAIN):
        columns[column] = pl.Series(values[1:], dtype=pl.Array(pl.Float32, values.shape[1]))
    return pl.DataFrame(columns)


def is_ours(file: Path) -> bool:
    """Whether a file is one that `export_embeddings` writes."""
    try:
        schema = pl.read_parquet_schema(file)
    except (OSError, pl.exceptions.PolarsError):
        return False
    leading, vectors = list(schema.items())[:2], list(schema.values())[2:]
    return leading == [("id", pl.Int32), ("token", pl.String)] and all(
        isinstance(vector, pl.Array) for vector in vectors
    )


def _write(frames: dict[str, pl.DataFrame], to: Path) -> None:
    """The files in a new folder, which then takes the place of the old one."""
    temporary = to.with_name(f".{to.name}.{uuid4().hex}")
    old = to.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        for name, frame in frames.items():
            frame.write_parquet(temporary / f"{_file_name(name)}.parquet", compression="zstd")
        if to.exists():
            os.rename(to, old)
        publish_folder(temporary, to)
    except BaseException:
        if old.exists() and not to.exists():
            os.rename(old, to)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _file_name(feature: str) -> str:
    """A feature's name without what a path would make of it; another one for each feature."""
    return feature.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C")
