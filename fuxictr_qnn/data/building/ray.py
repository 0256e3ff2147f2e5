"""`--engine ray`: FuxiCTR's own code encodes the rows, in tasks on a Ray cluster.

FuxiCTR 2.3.10 maps its `FeatureProcessor.transform` over the blocks of a Ray dataset. So does this engine,
with what makes that path unreliable repaired:

- row order: Ray keeps the order of blocks only when told to (`preserve_order`); without it, parts come back
  in the order in which workers finish;
- half a build: rows go through one writer into the temporary folder of the build, which is renamed when
  complete; nothing is pickled beside them;
- memory: blocks go to Ray's object store (which spills to disk) as they are read, where FuxiCTR collects a
  split and copies it three times;
- columns that its transform cannot encode (buckets) or does not check (numbers, vectors) are encoded here,
  and preprocess functions run here, so that workers import FuxiCTR only.

What is fitted on the training data, and every check of a cell, is the local engine's. Encoding involves no
chance, so nothing is left to seed; batches come from our own loaders, which are seeded.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from fuxictr_qnn.data.building.encoding import encode_source
from fuxictr_qnn.data.building.fitting import Fitted
from fuxictr_qnn.data.building.rows import Rows
from fuxictr_qnn.data.feature_map import describe
from fuxictr_qnn.data.lists import as_lists
from fuxictr_qnn.data.raw.splits import Source
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.errors import RequestError, RunError, last_line

# Else Ray waits 10 s for new worker processes whenever a split begins.
_WORKERS_STAY = {"RAY_idle_worker_killing_time_threshold_ms": "600000"}


def require_ray(option: str = "--engine ray") -> None:
    """Refuse where Ray, which `option` needs, is not installed.

    Raises:
        RequestError: with the command that installs it.
    """
    if importlib.util.find_spec("ray") is None:
        raise RequestError(f"{option}: Ray is not installed: pip install 'fuxictr-qnn[ray]'")


def encode_with_ray(
    blocks: list[tuple[Source, Iterator[Rows]]],
    fitted: Fitted,
    spec: DatasetSpec,
    write: Callable[[str, pa.Table], None],
) -> None:
    """Encode all sources and give `write` each split's rows in the order of the raw rows.

    Raises:
        RunError: Ray does not start, or a task failed.
    """
    remote = [column for column in spec.active_columns if column.name in fitted.vocabularies]
    encoders = fitted.encoders() | {column.name: _as_it_is for column in remote}
    with _ray() as ray:
        processor = _processor(spec, fitted, remote)
        stored: dict[str, list[Any]] = {}  # references to tables in the object store
        for source, rows in blocks:
            for split, table in encode_source(source, rows, encoders, spec):
                stored.setdefault(split, []).append(ray.put(table))
        for split in list(stored):
            dataset = ray.data.from_arrow_refs(stored.pop(split))
            dataset = dataset.map_batches(processor.transform, batch_size=None, batch_format="numpy")
            try:
                for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
                    write(split, _table(batch, spec.active_columns))
            except ray.exceptions.RayError as error:
                raise RunError(f"--engine ray: encoding {split} failed: {last_line(error)}") from error


@contextmanager
def _ray() -> Iterator[Any]:
    """Ray with ordered blocks: the cluster at $RAY_ADDRESS, else one on this machine until we are done."""
    import ray
    import ray.data

    ours = not ray.is_initialized()
    if ours:
        for name, value in _WORKERS_STAY.items():
            os.environ.setdefault(name, value)
        try:
            ray.init(logging_level="ERROR", log_to_driver=False)
        except Exception as error:  # Ray says by a bare Exception that it does not start
            raise RunError(f"--engine ray: Ray does not start: {last_line(error)}") from error
    context = ray.data.DataContext.get_current()
    before = context.execution_options.preserve_order, context.enable_progress_bars
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    try:
        yield ray
    finally:
        context.execution_options.preserve_order, context.enable_progress_bars = before
        if ours:
            ray.shutdown()


def _as_it_is(values: pl.Series) -> pa.Array:
    """A column that a task will encode."""
    return values.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).column(0).combine_chunks()


def _processor(spec: DatasetSpec, fitted: Fitted, columns: list[ColumnSpec]) -> Any:
    """FuxiCTR's FeatureProcessor as it would be after its fit, for some columns; it touches no file."""
    from fuxictr.preprocess import FeatureProcessor
    from fuxictr.preprocess.tokenizer import Tokenizer

    processor = FeatureProcessor(dataset_id=spec.dataset_id)
    described = describe(spec, fitted.ids, fitted.max_len)["features"]
    features = {name: feature for item in described for name, feature in item.items()}
    for column in columns:
        tokenizer = Tokenizer(
            na_value="" if column.fill_na is None else column.fill_na,
            splitter=column.splitter,
            max_len=fitted.max_len.get(column.name, 0),
            padding=column.padding,
        )
        for some in fitted.vocabularies[column.name].items():
            tokenizer.vocab |= some
        processor.processor_dict[f"{column.name}::tokenizer"] = tokenizer
        processor.feature_map.features[column.name] = features[column.name]
    return processor


def _table(batch: dict[str, np.ndarray], columns: list[ColumnSpec]) -> pa.Table:
    """What came back in the types and the order of a local build: ids int32, of meta columns int64."""
    kinds = {column.name: column.type for column in columns}
    arrays = {}
    for name in [*kinds, *(name for name in batch if name not in kinds)]:
        values, kind = batch[name], kinds.get(name)
        if kind == "sequence":
            arrays[name] = as_lists(np.stack(list(values)).astype(np.int32))
        elif kind == "embedding":
            arrays[name] = as_lists(np.stack(list(values)).astype(np.float32))
        else:
            dtype = {"categorical": np.int32, "meta": np.int64}.get(kind, np.float32)
            arrays[name] = pa.array(np.asarray(values).astype(dtype))
    return pa.table(arrays)
