"""A sweep with one worker and with two, a thread each, and the time from a fork to the first training step.

    python -m benchmarks.sweep --data-root data [--base QNNalpha_demo] [--epochs 4] [--turns 2]

Eight trials (M = 1 to 4, two dropout rates), every turn in a fresh folder, one worker and two in turns.
Before the first one the data is built, a picture is drawn (which loads matplotlib and its fonts) and the
server has imported everything, which is measured apart: every command pays these once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import yaml

from fuxictr_qnn.jobs import Began, Event, LocalPool, cores
from fuxictr_qnn.jobs.local import Server
from fuxictr_qnn.reporting.drawing import new_figure
from fuxictr_qnn.reporting.plots import has_matplotlib
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.reporting.theme import as_png, themed
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.session import do_sweep, open_sweep
from fuxictr_qnn.tuning.space import Space, Trial
from fuxictr_qnn.tuning.sweep import Row, Sweep
from fuxictr_qnn.tuning.tuner_file import read_tuner

SPACE = {"num_row": [1, 2, 3, 4], "net_dropout": [0.1, 0.2]}
TARGET = 0.65


class Bench:
    """The sweep to be measured."""

    def __init__(self, folder: Path, base: str, epochs: int, data: SweepData):
        file = folder / "tuner.yaml"
        # all epochs are trained, so that both sides do the same work
        space = SPACE | {"epochs": epochs, "early_stop_patience": epochs}
        file.write_text(yaml.safe_dump({"base_expid": base, "tuner_space": space}))
        self.folder, self.space, self.data = folder, Space(read_tuner(file)), data
        self.turn = 0

    def seconds(self, server: Server, workers: int) -> tuple[float, list[float]]:
        """Of a whole sweep, and from each fork to its first step."""
        self.turn += 1
        to_first_step: list[float] = []

        def watch(sweep: Sweep, row: Row, event: Event) -> None:
            if isinstance(event, Began):
                to_first_step.append(event.seconds)

        began = time.perf_counter()
        with open_sweep(self.space, self.folder / str(self.turn), self.data, Options()) as sweep:
            do_sweep(sweep, lambda: LocalPool(workers, 1, [-1], server), watch)
        if len(sweep.done) != 8:
            raise SystemExit(f"{sweep.count('failed')} trials failed: {self.folder / str(self.turn)}")
        return time.perf_counter() - began, to_first_step

    @property
    def first(self) -> Trial:
        return self.space.trial(self.space.values(0))


def ready_server() -> tuple[Server, float]:
    """A server, and how long it took until it answered."""
    began = time.perf_counter()
    server = Server()
    server.wait_until_ready()
    return server, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--build-dir", type=Path)
    parser.add_argument("--base", default="QNNalpha_demo", help="of the model zoo, a QNNalpha")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    server, importing = ready_server()
    found: dict[int, list[float]] = {1: [], 2: []}
    first_steps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.base, args.epochs, SweepData(args.data_root, args.build_dir))
        bench.data.ready(bench.first)
        if has_matplotlib():
            with themed():
                as_png(new_figure(1, 1))
        for _ in range(args.turns):
            for workers, seconds in found.items():
                taken, steps = bench.seconds(server, workers)
                seconds.append(taken)
                first_steps += steps
    server.close()
    one, two = (statistics.median(seconds) for seconds in found.values())
    rows = [
        ["one worker, one thread", f"{one:.1f} s", ", ".join(f"{value:.1f}" for value in found[1])],
        ["two workers, one thread each", f"{two:.1f} s", ", ".join(f"{value:.1f}" for value in found[2])],
        ["ratio", f"{two / one:.2f}", f"target {TARGET}"],
        ["fork to first step", f"{statistics.median(first_steps):.2f} s", f"at most {max(first_steps):.2f}"],
        ["imports of the server, once a command", f"{importing:.1f} s", ""],
    ]
    print(f"{args.base}, 8 trials of {args.epochs} epochs, {cores()} cores\n")
    print(markdown(["", "median", "each"], rows))


if __name__ == "__main__":
    main()
