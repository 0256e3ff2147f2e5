"""Training curves as TensorBoard event files, by the package tensorboard: no torch, no TensorFlow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import write_bytes
from fuxictr_qnn.reporting.entries import Entry
from fuxictr_qnn.runs.names import seed_name
from fuxictr_qnn.runs.run import Run
from fuxictr_qnn.training.history import NOT_METRICS

TAGS = {"train_loss": "train/loss", "learning_rate": "train/learning_rate"}  # whatever else is a metric
NO_CURVE = NOT_METRICS - TAGS.keys()
FILE = "events.out.tfevents.0.fuxictr-qnn"


def require_tensorboard() -> None:
    """RequestError unless the package tensorboard is installed."""
    if find_spec("tensorboard") is None:
        raise RequestError(
            "--tensorboard needs the package tensorboard: pip install 'fuxictr-qnn[tensorboard]'"
        )


def write_events(entries: Sequence[Entry], folder: Path) -> list[Path]:
    """A folder a run, `<label>/seed<S>/`, with one event file; returns the files."""
    files = []
    for entry in entries:
        for run in entry.runs:
            file = folder / entry.label.replace("/", "_") / seed_name(run.seed) / FILE
            write_bytes(file, _events(run))
            files.append(file)
    return files


def _events(run: Run) -> bytes:
    """The history as records: by step, at the second of training that each evaluation ended."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    for line in run.history:
        numbers = {name: value for name, value in line.items() if name not in NO_CURVE and value is not None}
        values = [
            Summary.Value(tag=TAGS.get(name, f"valid/{name}"), simple_value=value)
            for name, value in numbers.items()
        ]
        event = Event(wall_time=line.get("seconds", 0.0), step=line["step"], summary=Summary(value=values))
        writer.write(event.SerializeToString())
    return file.getvalue()
