"""Workers without processes and training: they leave the files that real runs, scorings and timings leave."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import polars as pl

from fuxictr_qnn.comparing.measuring import LATENCY, measure_latency, time_epoch
from fuxictr_qnn.files import write_bytes
from fuxictr_qnn.jobs import Ended, Evaluated, Event, Job, Outcome
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.metrics import auc, logloss
from fuxictr_qnn.training.run_folder import RunFolder
from tests.reporting.made_runs import scores_of
from tests.tuning.fake_pool import FakePool

EPOCHS = 2
SKILLS = {"LR": 0.1, "DNN": 0.4, "FM": 0.2, "QNNalpha": 0.8, "DCNv2": 0.5}


Killed = FakePool.Killed


class MadePool(FakePool):
    """Does jobs a step at a time, in turns.

    Args:
        fails: (experiment, seed) -> why a run fails; a text that begins with "killed" is what a signal does.
        die_after: so many events later `wait` raises Killed.
        log: what was done, as words: ("train", expid, seed), ("test", ...), ("latency", ...), ("time", ...).
    """

    def __init__(
        self,
        fails: Callable[[Experiment, int], str | None] = lambda experiment, seed: None,
        die_after: int | None = None,
        log: list[tuple[str, str, int]] | None = None,
    ):
        super().__init__(workers=2, die_after=die_after)
        self.fails = fails
        self.log = [] if log is None else log

    def __call__(self, workers: int | None = None) -> MadePool:
        """As what makes a pool of so many workers."""
        self.workers = workers or 2
        return self

    def _step(self, job: Job) -> Event:
        folder = RunFolder(job.out, job.experiment, job.seed)
        said = job.experiment.expid, job.seed
        if job.work is time_epoch:
            self.log.append(("time", *said))
            return Ended(job, Outcome("done", metrics={"train": 2.0, "evaluate": 0.5, "device": "cpu"}))
        if job.work is measure_latency:
            self.log.append(("latency", *said))
            folder.complete(folder.metrics | {LATENCY: 1.5})
            return Ended(job, Outcome("done", metrics=folder.metrics))
        if folder.metrics is not None:
            if job.test and "test" not in folder.metrics:
                self.log.append(("test", *said))
                self._score(job, folder)
            return Ended(job, Outcome("done", metrics=folder.metrics))
        if reason := self.fails(*(job.experiment, job.seed)):
            return Ended(job, Outcome("failed", reason=reason, killed=reason.startswith("killed")))
        return self._train(job, folder)

    def _train(self, job: Job, folder: RunFolder) -> Event:
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.is_started:
            folder.write_config(job.experiment, job.seed, job.data_fingerprint)
        done, valid = len(folder.history), _metrics(job)
        if done < EPOCHS:
            record = {"evaluation": done + 1, "epoch": done + 1, "step": 10 * (done + 1), "best": True}
            folder.append_history(record | {"AUC": valid["AUC"] + 1e-5 * (done + 1 - EPOCHS), "logloss": 0.5})
            return Evaluated(job, folder.history[-1])
        self.log.append(("train", job.experiment.expid, job.seed))
        (folder.path / "model.pt").write_bytes(b"weights")
        folder.complete(_record(job, valid))
        assert not job.test, "a run of a comparison is scored when it is complete"
        return Ended(job, Outcome("done", metrics=folder.metrics))

    @staticmethod
    def _score(job: Job, folder: RunFolder) -> None:
        labels, predictions, _ = scores_of(_skill(job), job.seed)
        buffer = io.BytesIO()
        pl.DataFrame({"y_pred": predictions, "y_true": labels}).write_parquet(buffer)
        write_bytes(folder.path / "test_scores.parquet", buffer.getvalue())
        test = {"AUC": auc(labels, predictions), "logloss": logloss(labels, predictions)}
        folder.complete(folder.metrics | {"test": test})


def _skill(job: Job) -> float:
    """By model; a high learning rate is worse."""
    return SKILLS[job.experiment.model] - 10 * job.experiment.fit.learning_rate


def _metrics(job: Job) -> dict[str, float]:
    labels, predictions, _ = scores_of(_skill(job), job.seed + 500)
    return {"AUC": auc(labels, predictions), "logloss": logloss(labels, predictions)}


def _record(job: Job, valid: dict[str, float]) -> dict[str, Any]:
    return {
        "expid": job.experiment.expid,
        "model": job.experiment.model,
        "model_class": "fuxictr_qnn.models:Made",
        "dataset_id": job.experiment.dataset.dataset_id,
        "seed": job.seed,
        "valid": valid,
        "parameters": 100,
        "parameters_without_embeddings": 10,
        "epochs": EPOCHS,
        "best_epoch": EPOCHS,
        "seconds": {"build": 0.1, "train": 4.0, "evaluate": 1.0},
        "rows_per_second": 1000,
        "peak_memory_mb": 10.0,
        "device": "cpu (1 threads)",
        "data_fingerprint": job.data_fingerprint,
        "config_digest": job.experiment.digest,
    }
