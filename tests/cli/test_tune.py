"""`fuxictr tune`: from a tuner file to a folder of trials, with real processes."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import random
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from rich.console import Console

from fuxictr_qnn.cli import main
from fuxictr_qnn.cli.sweep_view import _cells, watching
from fuxictr_qnn.data.simulated import demo
from fuxictr_qnn.jobs import threads
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.session import do_sweep, open_sweep
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.store import Standing
from fuxictr_qnn.tuning.tuner_file import read_tuner
from tests.clicks import tuner_content, write_clicks, write_tuner
from tests.tuning.fake_pool import FakePool

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A fresh working directory with the data in ./data."""
    monkeypatch.chdir(tmp_path)
    write_clicks(tmp_path / "data")
    return tmp_path


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def tune(*arguments: object) -> int:
    return main(["tune", "--config", "tuner.yaml", "--gpu", "-1", *map(str, arguments)])


def table() -> list[dict[str, str]]:
    return list(csv.DictReader(Path("sweeps/tuner/results.csv").open()))


def files() -> set[str]:
    return {str(path) for path in Path(".").rglob("*")}


def test_a_sweep_and_its_best_config(folder, two_cores, capsys):
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2], "net_dropout": [0, 0.3]})
    assert tune("--workers", 2, "--set", "epochs=2") == 0
    said = capsys.readouterr().out
    rows = table()
    assert [row["state"] for row in rows] == ["done"] * 4 and all(row["epochs"] == "2" for row in rows)
    lines = [line for line in said.splitlines() if "  done  valid AUC " in line]
    assert len(lines) == 4 and "4 done, 0 to do, best" in said
    assert said.index("4 trials; 4 to do, in sweeps/tuner\n") < said.index(lines[0])
    assert not (folder / "sweeps" / "tuner" / "logs").exists()
    assert "next: fuxictr run --config sweeps/tuner/best.yaml --seed 1 2 3\n" in said
    for file in folder.glob("sweeps/tuner/data-*/*/seed7/metrics.json"):
        metrics = json.loads(file.read_text())
        assert "test" not in metrics and metrics["device"].startswith("cpu (")
    assert not list(folder.rglob("test_scores.parquet"))
    assert len(list(folder.glob("data/clicks/built-*"))) == 1

    assert main(["run", "--config", "sweeps/tuner/best.yaml", "--gpu", "-1"]) == 0
    (run,) = folder.glob("runs/QNNalpha_clicks-*/seed7/metrics.json")
    metrics = json.loads(run.read_text())
    assert metrics["config_digest"] == rows[0]["trial"] and "AUC" in metrics["test"]
    assert metrics["valid"]["AUC"] == pytest.approx(float(rows[0]["valid AUC"]), abs=1e-5)


def test_a_second_time_there_is_nothing_to_do(folder, capsys):
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]}, epochs=1)
    assert tune() == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")}
    capsys.readouterr()
    assert tune() == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.json")} == before
    assert "valid AUC" in capsys.readouterr().out


def test_failed_trials_are_1_with_their_reason(folder, capsys):
    """Three heads do not divide an embedding of four: only building the model shows it."""
    write_tuner(Path("tuner.yaml"), {"num_heads": [3, 1, 2]}, epochs=1)
    assert tune() == 1
    captured = capsys.readouterr()
    assert "1 of 3 trials failed" in captured.err and "--retry-failed" in captured.err
    assert [row["state"] for row in table()] == ["done", "done", "failed"]
    assert "num_heads=3 does not divide" in table()[2]["note"]
    assert tune() == 1 and "done  valid" not in capsys.readouterr().out
    assert tune("--retry-failed") == 1 and "failed  " in capsys.readouterr().out


def test_hopeless_trials_are_pruned(folder):
    write_tuner(Path("tuner.yaml"), {"learning_rate": [0.03, 0.02, 0.01, 1e-7, 2e-7]}, epochs=4)
    assert tune("--prune", "asha") == 0
    states = {row["learning_rate"]: row["state"] for row in table()}
    assert states["1e-07"] == states["2e-07"] == "pruned" and "done" in states.values()
    (history,) = [
        file.parent / "history.jsonl"
        for file in folder.rglob("trial.json")
        if json.loads(file.read_text())["values"] == {"learning_rate": 1e-7}
    ]
    assert len(history.read_text().splitlines()) == 1


def test_tpe_in_two_sessions(folder):
    pytest.importorskip("optuna")
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2, 3, 4], "net_dropout": [0, 0.1, 0.2]}, epochs=1)
    assert tune("--search", "tpe", "--trials", 2) == 0
    assert tune("--search", "tpe", "--trials", 3) == 0
    assert len(table()) == len(list(folder.glob("sweeps/tuner/data-*/*/seed7"))) == 3


def test_the_next_command_finds_the_same_data(folder, capsys):
    (folder / "data").rename(folder / "my logs")
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]}, epochs=1, seed=2)
    assert tune("--data-root", "my logs", "--build-dir", "b") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    words = shlex.split(line.removeprefix("next: fuxictr "))
    assert words[3:] == ["--seed", "1", "3", "4", "--data-root", "my logs", "--build-dir", "b"]
    assert main([*words, "--gpu", "-1"]) == 0


def test_a_trial_that_ends_while_it_is_drawn():
    class Row(SimpleNamespace):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name == "began":
                self.began = None
            return found

    trial = SimpleNamespace(digest="0123abcd", values={})
    row = Row(trial=trial, standing=Standing("begun"), record={}, began=time.monotonic() - 5)
    assert _cells(SimpleNamespace(space=SimpleNamespace(axes={})), row)[1] == "running"


def test_a_terminal_says_at_once_why_a_trial_failed(folder):
    """The live table has no room for it, and a sweep takes hours."""
    tuner = read_tuner(write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]}))
    data, text = SweepData(folder / "data"), io.StringIO()
    pool = FakePool(fails=lambda experiment: "ValueError: a bug")
    console = Console(file=text, force_terminal=True, highlight=False, width=200)
    with open_sweep(Space(tuner), folder / "sweep", data, Options()) as sweep:
        with watching(console, sweep, 1) as watch:
            do_sweep(sweep, lambda: pool, watch)
    assert "num_row=1  failed" in text.getvalue() and text.getvalue().count("ValueError: a bug") == 2


def test_the_live_table_of_a_terminal(folder):
    """The command on a pseudo-terminal: trials run, move on, end, and leave the final table."""
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]}, epochs=8, early_stop_patience=9)
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    look = {"env": ENVIRONMENT | {"TERM": "xterm"}, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(COMMAND, **look) as process:
        os.close(terminal)
        drawn = b"".join(iter(partial(_read, master, time.monotonic() + 400), b"")).decode()
        try:
            process.wait(30)
        finally:
            process.kill()  # a command that hangs
    assert process.returncode == 0, drawn
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)
    assert re.search(r"[0-9a-f]{8} +1 +running", plain) and "0 done, 2 to do" in plain
    assert len(set(re.findall(r"running +(\d+) +0\.\d+", plain))) >= 2, "epochs go by while it runs"
    assert "1 done, 1 to do, best 0." in plain and " left" in plain
    final = plain[plain.rindex("2 done, 0 to do") :]
    assert "running" not in final and "next: fuxictr run" in final and "\x1b[?25h" in drawn  # cursor is back


def _read(terminal: int, deadline: float) -> bytes:
    """What is drawn next; nothing when the command has ended, or at the deadline."""
    left = max(0.0, deadline - time.monotonic())
    try:
        return os.read(terminal, 65536) if select.select([terminal], [], [], left)[0] else b""
    except OSError:  # the other side has closed
        return b""


def test_a_dry_run_writes_nothing(folder, capsys):
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]})
    before = files()
    assert tune("--dry-run") == 0 and files() == before
    said = capsys.readouterr().out
    assert "2 trials; 2 to do, in sweeps/tuner" in said and said.count("to do") == 3


def test_an_installed_tuner_by_its_name(folder, capsys):
    before = files()
    assert main(["tune", "--config", "tuner_QNNalpha_demo", "--dry-run"]) == 0 and files() == before
    assert "2 trials; 2 to do, in sweeps/tuner_QNNalpha_demo" in capsys.readouterr().out


class TestWrong:
    """Exit code 2, everything that is wrong in one message, and everything on disk as it was."""

    def refused(self, capsys, *arguments: object) -> str:
        before = files()
        assert tune(*arguments) == 2 and files() == before
        return capsys.readouterr().err

    def test_everything_that_needs_no_model(self, capsys, two_cores):
        space = {"num_row": [], "task": ["regression", "binary_classification"]}
        content = tuner_content(space) | {"base_expid": "QNNalpha_click"}
        Path("tuner.yaml").write_text(yaml.safe_dump(content))
        Path("blocked").touch()
        options = ["--workers", 3, "--set", "epochs", "--out", "blocked/x", "--gpu", 99, "--search", "random"]
        said = self.refused(capsys, *options)
        for part in (
            "--workers 3: this machine has 2 cores",
            "num_row = []",
            "task cannot be swept",
            "'QNNalpha_clicks'",
            "--set epochs: expected KEY=VALUE",
            "--out blocked/x: cannot be written",
            "--gpu 99",
            "--search random needs --trials K",
        ):
            assert part in said
        assert said.startswith("fuxictr: 8 problems\n")

    def test_everything_that_needs_the_model(self, capsys):
        write_tuner(Path("tuner.yaml"), {"num_rows": [1, 2], "epochs": ["long", 2], "net_dropout": [0, "x"]})
        said = self.refused(capsys)
        assert "'num_row'" in said and "epochs = 'long'" in said and "net_dropout = 'x'" in said
        assert said.startswith("fuxictr: 3 problems\n")

    def test_workers_and_address_of_ray(self, capsys, monkeypatch):
        pytest.importorskip("ray")
        write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]})
        said = self.refused(capsys, "--backend", "ray", "--workers", 0)
        assert said == "fuxictr: --workers 0: expected a number of at least 1\n"
        monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
        assert "RAY_ADDRESS=auto" in self.refused(capsys, "--backend", "ray")

    def test_searches(self, capsys):
        write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]})
        assert "--search random needs --trials K" in self.refused(capsys, "--search", "random")

    def test_no_such_file(self, capsys):
        assert "no such file" in self.refused(capsys)


COMMAND = [sys.executable, "-m", "fuxictr_qnn", "tune", "--config", "tuner.yaml", "--gpu", "-1"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    env = ENVIRONMENT | environment
    return subprocess.Popen(
        [*COMMAND, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


FOUR_EPOCHS = {"epochs": 4, "early_stop_patience": 9}


def shrunken_demo(root: Path, rows: int) -> dict:
    """The first rows of the simulated click log as a dataset of its own: its config."""
    for split in ("train", "valid", "test"):
        (root / "demo_small").mkdir(parents=True, exist_ok=True)
        demo.simulate(split).frame.head(rows).write_csv(root / "demo_small" / f"{split}.csv")
    content = yaml.safe_load((ROOT / "data_configs" / "demo.yaml").read_text())["demo"]
    paths = {f"{split}_data": f"demo_small/{split}.csv" for split in ("train", "valid", "test")}
    return {key: value for key, value in content.items() if key != "generator"} | paths


def progress(folder: Path) -> int:
    """How many evaluations all trials have had."""
    return sum(
        len(file.read_text().splitlines()) for file in folder.glob("sweeps/tuner/data-*/*/*/history.jsonl")
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_five_times_at_random_each_trial_is_done_once(folder, seed):
    """kill -9 of the command; what it had started has to end by itself."""
    content = {
        "base_expid": "QNNalpha_demo",
        "dataset_id": "demo_small",
        "dataset_config": {"demo_small": shrunken_demo(folder / "data", 4000)},
        "tuner_space": {"num_row": [1, 2, 3, 4], "net_dropout": [0, 0.2], "batch_size": 50, **FOUR_EPOCHS},
    }
    Path("tuner.yaml").write_text(yaml.safe_dump(content))
    rng, workers = random.Random(seed), str(min(2, threads.cores()))
    for _ in range(5):
        before, wait_for = progress(folder), rng.randrange(0, 6)
        with start("--workers", workers) as process:
            deadline = time.monotonic() + 60
            while (
                progress(folder) < before + wait_for
                and process.poll() is None
                and time.monotonic() < deadline
            ):
                time.sleep(0.01)
            time.sleep(rng.random() * 0.3)
            process.kill()
    assert progress(folder) < 32, "the sweep was over before the last kill"
    with start("--workers", workers) as process:
        errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    rows = table()
    assert len(rows) == 8 and {row["state"] for row in rows} == {"done"}
    trials = list(folder.glob("sweeps/tuner/data-*/*/seed2024"))
    assert {trial.parent.name[-8:] for trial in trials} == {row["trial"] for row in rows} and len(trials) == 8
    for trial in trials:
        log = (trial / "run.log").read_text()
        assert log.count(" valid: AUC ") == 1, "each run was finished once"
        evaluations = [json.loads(line) for line in (trial / "history.jsonl").read_text().splitlines()]
        assert [record["evaluation"] for record in evaluations] == [1, 2, 3, 4]
        assert not (trial / "checkpoint.pt").exists()


@pytest.mark.slow
def test_interrupted_it_ends_and_the_same_command_goes_on(folder):
    write_tuner(Path("tuner.yaml"), {"num_row": [1, 2]}, epochs=60, early_stop_patience=60)
    with start() as process:
        while progress(folder) < 3 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and errors.count("\n") == 1 and "a sweep" in errors
    reached = progress(folder)
    time.sleep(0.3)
    assert progress(folder) == reached, "a trial still runs"
    assert len(table()) == 2 and not list(folder.rglob("metrics.json"))
    with start() as process:
        assert process.communicate(timeout=300)[1] == "" and process.returncode == 0
    assert [(row["state"], row["epochs"]) for row in table()] == [("done", "60")] * 2


@pytest.mark.slow
def test_ray_does_the_same_sweep_and_starts_a_lost_worker_anew(folder):
    pytest.importorskip("ray")
    marker = folder / "died"
    content = tuner_content(
        {"hidden_units": [[8], [16], [24]], "marker": str(marker)}, model="tests.jobs.dying:Dying"
    )
    for key in ("num_layers", "net_dropout"):
        content["model_config"]["QNNalpha_clicks"].pop(key)
    content["model_config"]["QNNalpha_clicks"]["step"] = 20  # in the second of three epochs
    Path("tuner.yaml").write_text(yaml.safe_dump(content))
    with tempfile.TemporaryDirectory(dir="/tmp") as ray:  # its sockets need a short path
        with start("--backend", "ray", "--workers", "2", RAY_TMPDIR=ray) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert list(Path(ray).iterdir()), "Ray leaves its session where test_own_models.py looks for one"
    assert marker.exists(), "no worker was lost"
    assert [row["state"] for row in table()] == ["done"] * 3
    by_ray = {row["trial"]: float(row["valid AUC"]) for row in table()}
    marker.touch()
    with start("--out", "local") as process:
        assert process.communicate(timeout=300)[1] == ""
    local = list(csv.DictReader(Path("local/tuner/results.csv").open()))
    assert {row["trial"]: float(row["valid AUC"]) for row in local} == pytest.approx(by_ray, abs=1e-5)
    for file in folder.glob("sweeps/tuner/data-*/*/seed7/history.jsonl"):
        assert [json.loads(line)["evaluation"] for line in file.read_text().splitlines()] == [1, 2, 3]


@pytest.mark.slow
def test_ray_gives_up_a_trial_that_loses_every_worker(folder):
    pytest.importorskip("ray")
    content = tuner_content({"hidden_units": [[8]]}, model="tests.jobs.dying:Dying")
    for key in ("num_layers", "net_dropout"):
        content["model_config"]["QNNalpha_clicks"].pop(key)
    Path("tuner.yaml").write_text(yaml.safe_dump(content))
    with start("--backend", "ray", "--workers", "1") as process:
        errors = process.communicate(timeout=300)[1]
    assert process.returncode == 1 and "1 of 1 trials failed" in errors
    (row,) = table()
    assert row["state"] == "failed" and row["note"].startswith("Ray Tune gave it up after 3 restarts: ")
    (said,) = (json.loads(file.read_text()) for file in folder.glob("sweeps/**/trial.json"))
    assert said["killed"] is True
    assert not (folder / "sweeps" / "tuner" / "ray").exists()


@pytest.mark.slow
def test_ray_prunes_and_goes_on_in_the_same_folder(folder):
    """More values of a key add trials; without --prune those that were pruned are done after all, here."""
    pytest.importorskip("ray")
    write_tuner(Path("tuner.yaml"), {"learning_rate": [0.03, 1e-6, 2e-6]}, epochs=4, early_stop_patience=9)
    prune = ("--prune", "asha", "--backend", "ray", "--workers", "2")
    with start(*prune) as process:
        errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    first = {row["trial"]: row for row in table()}
    assert len(first) == 3 and first[table()[0]["trial"]]["learning_rate"] == "0.03"
    times = {path: path.stat().st_mtime_ns for path in folder.glob("sweeps/**/metrics.json")}
    write_tuner(
        Path("tuner.yaml"),
        {"learning_rate": [0.03, 1e-6, 2e-6, 3e-6, 0.02]},
        epochs=4,
        early_stop_patience=9,
    )
    with start(*prune) as process:
        errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    states = {row["learning_rate"]: row["state"] for row in table()}
    assert len(states) == 5 and states["0.03"] == "done" and "pruned" in states.values(), states
    assert {path: path.stat().st_mtime_ns for path in times} == times
    with start() as process:
        assert process.communicate(timeout=300)[1] == "" and process.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert [row["state"] for row in table()] == ["done"] * 5
