"""Models that end their process, for the tests of jobs."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

from fuxictr_qnn.models import DNN


class Dying(DNN):
    """A DNN that ends in some way at a training step, once: where the file `marker` is not there yet.

    Args:
        how: "killed" (by SIGKILL), "ended" (by SIGTERM), "exit" (with code 3), "bug" (ZeroDivisionError),
            "full" (no file can grow any more).
        marker: a file; "" ends every time.
        step: before which training step.
    """

    def __init__(self, feature_map, how: str = "killed", marker: str = "", step: int = 1, **kwargs):
        super().__init__(feature_map, **kwargs)
        self.how, self.marker, self.step, self.calls = how, marker, step, 0

    def forward(self, inputs):
        self.calls += self.training
        if self.training and self.calls == self.step and not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            end(self.how)
        return super().forward(inputs)


def end(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    if how == "ended":
        os.kill(os.getpid(), signal.SIGTERM)
        return
    if how == "exit":
        os._exit(3)
    if how == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return
    raise ZeroDivisionError("a bug in a model")


def said_by(job, gpu) -> dict:
    """Work that a job does in place of a run."""
    if job.seed == 13:
        raise ValueError("an unlucky number")
    return {"seed": job.seed, "gpu": gpu}


def unpicklable(job, gpu):
    return {"metric": lambda: None}
