"""The folder of one run, as training reads and writes it; what is in it: runs/files.py."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch

from fuxictr_qnn.data.fingerprint import ABOUT
from fuxictr_qnn.errors import Busy, RequestError
from fuxictr_qnn.files import is_writable, link_or_copy, lock_if_free, write_bytes, write_json, write_text
from fuxictr_qnn.runs.files import REMEDY, RunFiles
from fuxictr_qnn.runs.names import run_name
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.tensor_file import check_by_name, load_into, read_plain
from fuxictr_qnn.yaml_files import to_yaml

_CHECKPOINT = {"model", "optimizer", "schedule", "average", "position", "random"}  # what `Fit.state` gives
_OF_A_BUILD = ("feature_map.json", "feature_vocab.json", "preprocessing.json", "items.parquet")
_ANEW = "--force starts anew"


class RunFolder(RunFiles):
    """Reads and writes one run's files; every write leaves the old file or the new one."""

    def __init__(self, out: Path, experiment: Experiment, seed: int):
        super().__init__(out / run_name(experiment.expid, experiment.digest, seed), f"{REMEDY}; {_ANEW}")

    def check_writable(self) -> None:
        """Refuse, before anything is computed, a place that cannot be written.

        Raises:
            RequestError: naming the folder.
        """
        if not is_writable(self.path):
            raise RequestError(f"--out: '{self.path}' cannot be written; choose a folder that you own")

    def check_state(self, resume: bool, force: bool) -> None:
        """Refuse an interrupted run unless the request says what to do with it.

        Raises:
            RequestError: neither `resume` nor `force` is given, or the record of a complete run is damaged.
            Busy: another process is at it right now.
        """
        if force or self.metrics is not None or resume or not self.is_started:
            return
        with self.locked():
            if self.is_started:
                raise RequestError(
                    f"'{self.path}' holds an incomplete run: add --resume to go on or --force to start anew"
                )

    @contextmanager
    def locked(self):
        """Keep other processes out of this folder.

        Raises:
            Busy: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock_if_free(self.path / ".lock") as held:
            if not held:
                raise Busy(f"another process is writing '{self.path}': wait for it or stop it")
            yield

    @contextmanager
    def logged(self):
        """Everything that is logged, FuxiCTR's messages included, goes to run.log as well."""
        handler = logging.FileHandler(self.path / "run.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            handler.close()

    @property
    def is_started(self) -> bool:
        """Whether a run began here and did not finish."""
        return self.is_begun and not self.is_complete

    def clear(self) -> None:
        """Remove what an earlier run left; metrics.json first, so that half a removal is no run."""
        for name in ("metrics.json", "checkpoint.pt", "history.jsonl", "model.pt", "test_scores.parquet"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "features", ignore_errors=True)
        for name in ("warm_start.json", "run.log", "config.yaml"):
            (self.path / name).unlink(missing_ok=True)

    @property
    def data_fingerprint(self) -> str | None:
        """Of the data that the run here began with; None where there is no run."""
        return self.config.get("data_fingerprint") if self.is_begun else None

    @property
    def buffer_bytes(self) -> int | None:
        """Of the run here that streams its data, the size of a window; None where there is no such run."""
        return self.config.get("buffer_bytes") if self.is_begun else None

    def write_config(
        self, experiment: Experiment, seed: int, data_fingerprint: str, buffer_bytes: int | None = None
    ) -> None:
        """Keep what decides the run; `buffer_bytes` (None: not streamed) decides the order of its rows."""
        plain = {} if experiment.init_from else {"init_from": True}
        config = {
            "experiment": experiment.model_dump(mode="json", exclude={"dataset": ABOUT, **plain}),
            "seed": seed,
            "data_fingerprint": data_fingerprint,
            **({} if buffer_bytes is None else {"buffer_bytes": buffer_bytes}),
        }
        write_text(self.path / "config.yaml", to_yaml(config))

    def link_features(self, build: Path) -> None:
        """Keep the build's maps with the run: hard links where the file system has them."""
        target = self.path / "features"
        target.mkdir(exist_ok=True)
        names = [*_OF_A_BUILD, *(file.name for file in build.glob("pretrained_*"))]
        for name in names:
            if (build / name).exists():
                link_or_copy(build / name, target / name)

    def save_weights(self, model: torch.nn.Module) -> None:
        self._save("model.pt", model.state_dict())

    def load_weights(self, model: torch.nn.Module) -> None:
        file = self.path / "model.pt"
        load_into(model, check_by_name(self._load("model.pt"), file, _ANEW), file, _ANEW)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        self._save("checkpoint.pt", state)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None when the run was stopped before the first."""
        return read_checkpoint(self.path / "checkpoint.pt", _ANEW) if self.has_checkpoint else None

    def write_warm_start(self, report: dict[str, Any]) -> None:
        write_json(self.path / "warm_start.json", report)

    @property
    def carried_before(self) -> dict[str, Any] | None:
        """What `write_warm_start` kept, where weights that were trained since are here, too."""
        return self._json("warm_start.json") if self.has_checkpoint or self.is_complete else None

    def append_history(self, record: dict[str, Any]) -> None:
        with open(self.path / "history.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())  # on disk before the checkpoint that follows it

    def keep_history(self, evaluations: int) -> None:
        """Drop the lines after a checkpoint: the resumed run writes them again."""
        lines = [json.dumps(record) + "\n" for record in self.history[:evaluations]]
        write_text(self.path / "history.jsonl", "".join(lines))

    def write_scores(self, scores: Scores) -> None:
        columns = {"y_pred": scores.y_pred, "y_true": scores.y_true}
        if scores.group is not None:
            columns["group"] = scores.group
        buffer = io.BytesIO()
        pl.DataFrame(columns).write_parquet(buffer)
        write_bytes(self.path / "test_scores.parquet", buffer.getvalue())

    def complete(self, metrics: dict[str, Any], keep_checkpoint: bool = False) -> None:
        """Write metrics.json, which makes the run complete; the checkpoint is no longer needed.

        Args:
            keep_checkpoint: the same run with more epochs may go on from it.
        """
        write_json(self.path / "metrics.json", metrics)
        if not keep_checkpoint:
            (self.path / "checkpoint.pt").unlink(missing_ok=True)

    def _save(self, name: str, value: Any) -> None:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        write_bytes(self.path / name, buffer.getvalue())

    def _load(self, name: str) -> Any:
        return read_plain(self.path / name, _ANEW)


def read_checkpoint(file: Path, remedy: str) -> dict[str, Any]:
    """What `save_checkpoint` wrote.

    Args:
        remedy: what to do about a file that is refused.

    Raises:
        RequestError: naming the file and the remedy.
    """
    state = read_plain(file, remedy)
    if not isinstance(state, dict) or not state.keys() >= _CHECKPOINT:
        raise RequestError(f"'{file}' is no checkpoint of a run; {remedy}")
    return state
