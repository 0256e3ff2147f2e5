"""A model's graph as an ONNX file, and what onnxruntime makes of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.serving.graph import Served

OUTPUT = "y_pred"
OPSET = 18  # the oldest that torch's exporter writes: known to every runtime since 2022
PACKAGES = ("onnx", "onnxruntime", "onnxscript")
LIMIT = 2_000_000_000  # bytes; a protobuf file ends at 2 GiB


def require_onnx() -> None:
    """RequestError unless the packages of the extra `onnx` are installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise RequestError(
            f"export needs {', '.join(missing)}: pip install 'fuxictr-qnn[onnx]' (or pip install "
            f"{' '.join(missing)})"
        )


def write_onnx(served: Served, file: Path, facts: dict[str, str]) -> None:
    """Write the graph with a free number of rows.

    Args:
        facts: to keep in the file, as its metadata.

    Raises:
        RequestError: an operator that ONNX does not have, control flow that hangs on values, or more
            weights than a file can hold.
    """
    size = sum(t.numel() * t.element_size() for t in (*served.parameters(), *served.buffers()))
    if size > LIMIT:
        raise RequestError(
            f"the model's weights take {size / 1e9:.1f} GB, and an ONNX file holds 2 GB: raise "
            "min_categr_count, lower embedding_dim, or serve it by load_run"
        )
    proto = _traced(served)
    if any(not each.type.tensor_type.shape.dim[0].dim_param for each in proto.graph.input):
        raise RequestError(
            f"{served.name} cannot be written as ONNX: its forward pass fixes the number of rows, as len(x) "
            "of a tensor does (x.shape[0] leaves it free); serve it by load_run or `fuxictr predict`"
        )
    _strip(proto.graph)
    del proto.metadata_props[:], proto.functions[:]
    proto.producer_name = "fuxictr-qnn"
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _traced(served: Served) -> Any:
    """The graph as an onnx.ModelProto."""
    rows = torch.export.Dim("rows")
    shapes = {"matrices": tuple({0: rows} for _ in served.inputs)}
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                served,
                served.example(),
                input_names=list(served.inputs),
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
                optimize=False,  # it takes x + 1e-12 for x: 0 / (0 + 1e-12) would become NaN
            )
            _clean(program.model)
            return program.model_proto
    except Exception as error:  # torch's exporter has many, and a model from elsewhere raises its own
        raise RequestError(
            f"{served.name} cannot be written as ONNX: {_reason(error)}; serve it by load_run or "
            "`fuxictr predict`"
        ) from error


def _clean(model: Any) -> None:
    """What does not change a digit: constants folded, dead nodes out, equal ones joined."""
    from onnx_ir.passes import Sequential, common
    from onnxscript import optimizer

    optimizer.inline(model)
    for _ in range(2):  # folding one constant may make another
        optimizer.fold_constants(model)
        optimizer.remove_unused_nodes(model)
    Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    )(model)


def _reason(error: BaseException) -> str:
    """The first sentence of what torch's exporter, at the end of a chain of errors, stumbled over."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _strip(graph: Any) -> None:
    """Take out what only tells where in the source an operator came from."""
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on packages and on its own future."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def session(file: Path | bytes, threads: int | None = None) -> Any:
    """An onnxruntime session on the CPU; `threads` (None: all cores) share the work on a batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.log_severity_level = 3
    content = file if isinstance(file, bytes) else str(file)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(onnx_session: Any, matrices: dict[str, np.ndarray]) -> np.ndarray:
    """The scores (rows,) of some rows.

    Raises:
        RunError: onnxruntime cannot compute them.
    """
    try:
        return onnx_session.run([OUTPUT], matrices)[0]
    except Exception as error:  # onnxruntime's own classes have no common base
        rows = len(next(iter(matrices.values())))
        raise RunError(f"onnxruntime cannot score {rows:,} rows with the exported file: {error}") from error


def versions() -> dict[str, str]:
    """Of the packages that wrote the file and checked it, and of the set of operators."""
    return {name: metadata.version(name) for name in PACKAGES} | {"opset": str(OPSET)}
