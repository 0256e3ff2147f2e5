"""Models for the tests of several workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fuxictr_qnn.models import DNN


class OwnStep(DNN):
    """Trains in its own way."""

    def train_step(self, batch_data):
        return super().train_step(batch_data)


class Dying(DNN):
    """A DNN whose second worker dies in the second epoch, once: where the file $DIES is not there yet."""

    def forward(self, inputs):
        marker = os.environ.get("DIES")
        if marker and self.training and os.environ["RANK"] == "1" and self._total_steps == 20:
            try:
                Path(marker).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(inputs)
