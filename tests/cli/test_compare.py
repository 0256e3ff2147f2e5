"""`fuxictr compare`: with real processes, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.cli import main
from fuxictr_qnn.jobs import threads
from fuxictr_qnn.reporting import plots, report
from tests.clicks import write_clicks
from tests.comparing.conftest import SPACE, write_configs

ROOT = Path(__file__).resolve().parents[2]
MODELS = ["--dataset", "clicks", "--models", "LR", "QNNalpha"]
COMMON = ["--config", "config", "--gpu", "-1", "--space", "config/space.yaml", "--name", "it"]
IT = Path("comparisons/it")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A fresh working directory with the data in ./data and configs in ./config."""
    monkeypatch.chdir(tmp_path)
    write_clicks(tmp_path / "data")
    write_configs(tmp_path / "config")
    return tmp_path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Two cores wherever this runs, and no pictures, which take seconds."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("fuxictr_qnn.tuning.session.draw_axes", lambda sweep: [])
    for module in (plots, report):
        monkeypatch.setattr(module, "has_matplotlib", lambda: False)


def compare(*arguments: object) -> int:
    return main(["compare", *COMMON, *map(str, arguments)])


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}


def scorings() -> list[dict]:
    return [json.loads(line) for line in (IT / "test_log.jsonl").read_text().splitlines()]


def test_two_models_from_trials_to_the_report(folder, capsys):
    request = [*MODELS, "--trials", 2, "--seeds", 3, "--workers", 2, "--set", "epochs=2"]
    assert compare(*request) == 0
    said = capsys.readouterr().out
    for part in (
        "comparisons/it: 2 trials and 3 seeds each",
        "tune: 4 trials, which leave the test split unread",
        "train  QNNalpha_clicks  seed 3  valid AUC 0.",
        "test: 6 scorings of the test split",
        " ms / 100 rows",
        "The test split was scored 6 times",
        "see comparisons/it/report.html",
    ):
        assert part in said, part
    assert len(scorings()) == 6
    rows = list(csv.DictReader((IT / "results.csv").open()))
    assert sorted((row["expid"], row["seed"]) for row in rows) == [
        (expid, str(seed)) for expid in ("LR_clicks", "QNNalpha_clicks") for seed in (1, 2, 3)
    ]
    assert all(float(row["test_AUC"]) > 0.5 for row in rows)
    assert [bool(row["latency_ms_per_100_rows"]) for row in rows] == [row["seed"] == "1" for row in rows]
    for file in IT.glob("tune/*/data-*/*/seed*/metrics.json"):
        assert "test" not in json.loads(file.read_text())
    assert len(list(IT.glob("tune/*/data-*/*/seed2024/metrics.json"))) == 4
    assert not (IT / "logs").exists()

    before = files()
    assert compare(*request) == 0
    assert files() == before and len(scorings()) == 6
    assert compare(*MODELS, "--trials", 2, "--set", "epochs=2", "--plan") == 0
    said = capsys.readouterr().out
    assert "nothing is left to train" in said and "6 final runs in comparisons/it" in said
    assert {name for name in files() if name not in before} == {"comparisons/it/timings.json"}


def test_a_plan_trains_nothing_and_a_budget_decides(folder, capsys):
    assert compare(*MODELS, "--plan", "--more-seeds", 5, "--recipe", "DNN_clicks") == 0
    said = capsys.readouterr().out
    for part in (
        " settings, a few seconds each",
        " s an epoch: QNNalpha_clicks, ",
        "~3 of 3",
        "with 1 worker: about ",
        "test scorings: 11",
        "smallest difference in AUC that two models show",
        " with 3 seeds each; ",
        " with 5 seeds each, at a standard deviation",
        "assumed: QNNalpha on Frappe and ML-1M",
        "nothing was trained",
        "runs are taken to need 30 % of the cap",
    ):
        assert part in said, part
    assert [path.name for path in IT.iterdir()] == ["timings.json"]
    timings = json.loads((IT / "timings.json").read_text())
    assert all(timing["train"] > 0 and timing["evaluate"] > 0 for timing in timings.values())

    assert compare(*MODELS, "--plan", "--budget", "2h") == 0
    said = capsys.readouterr().out
    assert "--budget 2h: 13 trials and 10 seeds of each model" in said and "nothing was trained" in said
    slow = {name: {"train": 600.0, "evaluate": 0.0, "device": "cpu"} for name in timings}
    (IT / "timings.json").write_text(json.dumps(slow))
    assert compare(*MODELS, "--budget", "1h") == 2
    error = capsys.readouterr().err  # 2 models, 4 runs of 3 epochs of 10 minutes
    assert (
        "1 trials and 3 seeds of each model take about 4.0 h" in error
        and not (IT / "comparison.yaml").exists()
    )


class TestWrong:
    """Exit code 2, everything that is wrong in one message, and everything on disk as it was."""

    def refused(self, capsys, *arguments: object, code: int = 2) -> str:
        before = files()
        assert compare(*arguments) == code and files() == before
        return capsys.readouterr().err

    def test_everything_that_needs_no_model(self, capsys):
        Path("blocked").touch()
        Path("space.yaml").write_text(yaml.safe_dump(SPACE | {"keys": {"dropot": "x"}}))
        said = self.refused(
            capsys,
            *("--dataset", "clicks", "--models", "LR", "QNNalfa"),
            *("--recipe", "DNN_click", "--set", "epochs", "--workers", 9, "--seeds", 0, "--more-seeds", 1),
            *(
                "--budget",
                "soon",
                "--out",
                "blocked/x",
                "--gpu",
                99,
                "--space",
                "space.yaml",
                "--name",
                "a/b",
            ),
        )
        for part in (
            "no experiment QNNalfa_clicks in config. Did you mean 'QNNalpha_clicks'",
            "--recipe: no experiment DNN_click in config. Did you mean 'DNN_clicks'",
            "--set epochs: expected KEY=VALUE",
            "--workers 9: this machine has 2 cores",
            "--seeds 0: expected a number from 1",
            "--more-seeds 1: expected a number from 2",
            "--budget soon: expected hours or minutes",
            "blocked/x: cannot be written",
            "--gpu 99",
            "keys: dropot is no shared axis. Did you mean 'dropout'",
            "--name a/b: expected the name of a folder",
        ):
            assert part in said, part

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            ([], "neither is given"),
            (["--expid", "LR_clicks", "--models", "LR", "--dataset", "clicks"], "both are given"),
            (["--models", "LR"], "--models needs --dataset"),
            (["--dataset", "clicks"], "--dataset clicks needs --models"),
            (["--dataset", "click", "--models", "LR"], "no such dataset. Did you mean 'clicks'"),
            (["--expid", "LR_clicks", "LR_clicks"], "--expid LR_clicks: stands twice"),
            ([*MODELS, "--more-seeds", "3"], "expected more than the 3 of --seeds"),
            (
                ["--expid", "LR_clicks", "DNN_clicks", "--recipe", "LR_clicks"],
                "compared as it stands already",
            ),
        ],
    )
    def test_what_is_compared(self, capsys, arguments, part):
        assert part in self.refused(capsys, *arguments)

    def test_what_must_be_the_same(self, capsys):
        write_configs(Path("config"), {"LR": {"batch_size": 50}, "DNN": {"embedding_dim": 8}, "QNNalpha": {}})
        said = self.refused(capsys, "--expid", "LR_clicks", "DNN_clicks", "QNNalpha_clicks")
        assert "batch_size must be the same for all: it is 50 in LR_clicks, 100 in DNN_clicks" in said
        assert "embedding_dim must be the same for all: it is 4 in LR_clicks, 8 in DNN_clicks, 4 in" in said
        assert "--set batch_size=..." in said and "--set embedding_dim=..." in said

    def test_what_chooses_weights_must_be_the_same(self, capsys):
        by_logloss = {"monitor": "logloss", "monitor_mode": "min"}
        same = {"monitor": {"AUC": 1, "logloss": 0}}
        write_configs(Path("config"), {"LR": {"accumulate_steps": 2}, "DNN": by_logloss, "QNNalpha": same})
        said = self.refused(capsys, "--expid", "LR_clicks", "DNN_clicks", "QNNalpha_clicks")
        assert "accumulate_steps must be the same for all: it is 2 in LR_clicks, 1 in DNN_clicks" in said
        assert (
            "monitor must be the same for all: it is 1 AUC in LR_clicks, 1 logloss in DNN_clicks, 1 AUC in"
            in said
        )
        assert "monitor_mode must be the same for all: it is max in LR_clicks, min in DNN_clicks" in said

    def test_tpe_without_optuna(self, capsys, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "optuna" in self.refused(capsys, *MODELS, "--search", "tpe")

    def test_values_that_do_not_go_together(self, capsys):
        space = SPACE | {"shared": {"ema_decay": [None, 0.9], "average_last": [None, 3]}, "keys": {}}
        Path("config/space.yaml").write_text(yaml.safe_dump(space | {"models": {}, "schedules": {}}))
        said = self.refused(capsys, *MODELS, "--trials", 4)
        assert "space.yaml, for LR_clicks: ema_decay and average_last are two ways to average" in said

    def test_keys_that_are_searched_or_the_protocols(self, capsys):
        models = ["--dataset", "clicks", "--models", "DNN", "QNNalpha"]
        said = self.refused(capsys, *models, "--set", "net_dropout=0.2", "reduce_lr_patience=2", "seed=7")
        assert "--set net_dropout: it is searched" in said and "--set reduce_lr_patience: it is" in said
        assert "--set seed: final seeds are 1 to K" in said
        assert "--set lr: it is searched" in self.refused(capsys, *models, "--set", "lr=0.5")

    def test_unknown_keys_of_a_model_and_values_that_none_takes(self, capsys):
        space = SPACE | {
            "models": {"QNNalpha": {"own": {"num_rows": [1, 2]}}, "LR": {"own": {"epochs": [1, 2]}}}
        }
        Path("config/space.yaml").write_text(yaml.safe_dump(space))
        assert "epochs is the same for all models" in self.refused(capsys, *MODELS)
        space["models"] = {"QNNalpha": {"own": {"num_rows": [1, 2], "num_heads": [1, "x"]}}}
        Path("config/space.yaml").write_text(yaml.safe_dump(space))
        said = self.refused(capsys, *MODELS)
        assert "'num_row'" in said and "num_heads = 'x'" in said

    def test_no_test_split_and_no_auc(self, capsys):
        said = self.refused(
            capsys,
            *MODELS,
            "--set",
            "test_data=null",
            "metrics=[logloss]",
            "monitor=logloss",
            "monitor_mode=min",
        )
        assert "no test split: test_data, or test_size" in said and "metrics lacks AUC" in said

    def test_a_folder_of_another_request(self, capsys):
        from fuxictr_qnn.comparing.terms import Terms, write_terms

        terms = Terms(
            dataset="clicks",
            data_fingerprint="0" * 16,
            tuned={"DNN_clicks": "DNN 00000000"},
            trials=2,
            seeds=4,
        )
        write_terms(IT / "comparison.yaml", terms)
        said = self.refused(capsys, *MODELS, "--seeds", 3)
        assert "holds a comparison of DNN_clicks, and this is LR_clicks, QNNalpha_clicks" in said
        assert "with --seeds 4, and 3 is less" in said and "--name NAME" in said


COMMAND = [sys.executable, "-m", "fuxictr_qnn", "compare", *COMMON, *MODELS]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def evaluations() -> int:
    return sum(len(file.read_text().splitlines()) for file in IT.rglob("history.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_it_goes_on_and_everything_is_done_once(folder, seed):
    """kill -9 of the command; what it had started ends by itself."""
    rng = random.Random(seed)
    command = [
        *COMMAND,
        "--trials",
        "2",
        "--seeds",
        "3",
        "--set",
        "epochs=4",
        "--workers",
        str(min(2, threads.cores())),
    ]
    kills = 0
    for _ in range(5):
        before, wait_for = evaluations(), rng.randrange(1, 9)
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while (
                evaluations() < before + wait_for and process.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.01)
            kills += process.poll() is None
            process.kill()
    assert kills >= 3, "the comparison was over before it could be killed"
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    runs = list(IT.glob("runs/*/seed*")) + list(IT.glob("tune/*/data-*/*/seed*"))
    assert len(runs) == 6 + 4
    for run in runs:
        history = [
            json.loads(line)["evaluation"] for line in (run / "history.jsonl").read_text().splitlines()
        ]
        assert history == list(range(1, len(history) + 1)) and not (run / "checkpoint.pt").exists()
        assert (run / "run.log").read_text().count(" valid: AUC ") <= 1, "a run was finished twice"
    assert len(scorings()) == 6 == len({(line["expid"], line["seed"]) for line in scorings()})
    before = files()
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0 and again.stderr == "" and len(scorings()) == 6
    changed = {name for name, content in files().items() if before.get(name) != content}
    assert all(name.startswith("comparisons/it/") and "runs/" not in name for name in changed)


@pytest.mark.slow
def test_interrupted_it_ends_and_the_same_command_goes_on(folder):
    command = [*COMMAND, "--trials", "1", "--seeds", "3", "--set", "epochs=4"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as process:
        while evaluations() < 3 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and errors.count("\n") == 1 and "a comparison" in errors
    reached = evaluations()
    time.sleep(0.3)
    assert evaluations() == reached, "a run goes on"
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0 and done.stderr == "" and len(scorings()) == 6


def test_on_a_terminal_what_is_under_way_stands_below(folder):
    from rich.console import Console

    from fuxictr_qnn.cli.compare_view import watching
    from fuxictr_qnn.jobs import Began, Ended, Evaluated, Outcome

    console = Console(force_terminal=True, width=100, record=True)
    with watching(console, 2) as view:
        view.begin("train", 3)
        for seed in (1, 2):
            view.event("DNN_clicks", f"seed {seed}", Began(None, 0.1))
        view.event("DNN_clicks", "seed 2", Evaluated(None, {"epoch": 4, "AUC": 0.75}))
        assert "DNN_clicks  seed 2  epoch 4, valid AUC 0.75000" in view.under_way().plain
        done = Outcome("done", metrics={"valid": {"AUC": 0.8}}, seconds=60.0)
        view.event("DNN_clicks", "seed 1", Ended(None, done))
        assert "seed 1" not in view.under_way().plain
        view.event("DNN_clicks", "seed 2", Ended(None, Outcome("failed", reason="it broke", seconds=60.0)))
        assert view.under_way().plain == ""
    said = console.export_text()
    assert "train  DNN_clicks  seed 1  valid AUC 0.80000  60.0 s  (1 of 3, about 60 s left)" in said
    assert "train  DNN_clicks  seed 2  failed: it broke  60.0 s  (2 of 3, about 60 s left)" in said
