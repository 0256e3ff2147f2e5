"""Several workers: the numbers of one, failures that all learn of, and lost workers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fuxictr_qnn.cli import main
from fuxictr_qnn.data import Places
from fuxictr_qnn.training import run_seed
from fuxictr_qnn.training.distributed.run_folder import SharedRunFolder
from fuxictr_qnn.training.distributed.sharing import Part, rows_of
from fuxictr_qnn.training.run_folder import RunFolder
from tests.training import together
from tests.training.test_run import clicks, tiny  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = tiny(epochs=2, learning_rate=0.005)
STREAMED = tiny(epochs=1, learning_rate=0.005, streaming=True, memory_budget=1e-5)


@pytest.fixture(scope="module")
def found(clicks, tmp_path_factory):  # noqa: F811
    """What one process and each of two find: these are started once for all tests."""
    folder = tmp_path_factory.mktemp("together")
    request = {
        "data": clicks,
        "out": folder / "out",
        "experiment": EXPERIMENT,
        "streamed": STREAMED,
        "exploding": tiny(epochs=2, learning_rate=1e30),
    }
    return together.alone_and_together(folder, request)


@pytest.fixture
def alone(found):
    return found[0]


@pytest.fixture
def both(found):
    return found[1]


STEPS = [f"{name}, {what}" for name in together.MODELS for what, *_ in together.STEPS]
MORE = [f"{name}, two batches, all for the first" for name in ("folded", "plain", "mlp")]


@pytest.mark.parametrize(
    "name", [*STEPS, *MORE, "without, fewer rows than workers", "folded, two batches, summed in place"]
)
def test_two_workers_give_the_gradients_of_one(name, alone, both):
    """In float64: loss, gradients and running statistics, over accumulated batches and shares of any size."""
    expected = alone[", ".join(name.split(", ")[:2])]
    for found in (worker[name] for worker in both):
        assert found.keys() == expected.keys()
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_a_parameter_without_a_gradient_keeps_none(alone, both):
    for found in (alone, *both):
        assert found["unused"] == {"never": None, "sometimes": True}


def test_a_whole_fit_takes_the_same_decisions(alone, both):
    first, second = (worker["fit"] for worker in both)
    assert first == second
    assert any(record["lr_cut"] for record in first) and len(first) == len(alone["fit"])
    for found, expected in zip(first, alone["fit"], strict=True):
        assert found == pytest.approx(expected, rel=1e-6, abs=2e-4)  # equal rows may change places in the AUC


def test_scores_are_gathered_in_order_and_metrics_are_the_first_workers(alone, both):
    for count in (5, 1):
        *arrays, metrics = alone["scores"][count]
        *found, found_metrics = both[0]["scores"][count]
        for one, other in zip(arrays, found, strict=True):
            assert one.dtype == other.dtype and np.array_equal(one, other)
        assert found_metrics == metrics == both[1]["scores"][count][-1]


def test_workers_begin_with_the_first_ones_weights_and_have_dropout_masks_of_their_own(alone, both):
    first, second = (worker["streams"] for worker in both)
    assert first["bias"] == second["bias"] == alone["streams"]["bias"]
    assert torch.equal(first["random"], alone["streams"]["random"])
    assert not torch.equal(first["random"], second["random"])


def test_a_failure_of_one_is_one_of_all_and_the_first_says_why(both):
    first, second = (worker["failures"] for worker in both)
    assert first == [
        ("RequestError", 2, "worker 1: one\nworker 1: two"),
        ("RunError", 1, "both"),
        ("RequestError", 2, "first"),
        ("RunError", 1, "worker 1: OSError: disk"),
        ("ValueError", 1, "inner"),
        ("RequestError", 2, "worker 1: early"),
        "made by 0",
    ]
    assert second[:-1] == [("SaidByTheFirst", code, "") for _, code, _ in first[:-1]]
    assert second[-1] == "made by 0"


class TestAWholeRun:
    def test_is_named_as_that_of_one_and_says_how_many_it_was(self, both):
        metrics = both[0]["whole run"]["straight"]
        assert metrics["workers"] == 2 and metrics["config_digest"] == EXPERIMENT.digest

    @pytest.mark.parametrize(("experiment", "name"), [(EXPERIMENT, "straight"), (STREAMED, "streamed")])
    def test_has_its_metrics_within_noise(self, experiment, name, both, clicks, tmp_path):  # noqa: F811
        one = run_seed(experiment, 7, places=Places(clicks), out=tmp_path, gpu=-1).metrics
        two = both[0]["whole run"][name]
        assert one["workers"] == 1 and one["buffer_bytes"] == two["buffer_bytes"]
        for split in ("valid", "test"):
            assert two[split]["logloss"] == pytest.approx(one[split]["logloss"], abs=0.03)
            assert two[split]["AUC"] == pytest.approx(one[split]["AUC"], abs=0.06)

    def test_goes_on_after_an_interruption_as_if_nothing_had_been(self, both):
        for found in (worker["whole run"] for worker in both):
            for key in ("valid", "test", "epochs", "best_epoch"):
                assert found["resumed"][key] == found["straight"][key]
            assert found["reused"]

    def test_is_refused_or_fails_on_all_workers_with_one_message(self, both):
        first, second = (worker["whole run"] for worker in both)
        assert first["refused"][0] == "RequestError" and "add --resume" in first["refused"][1]
        assert first["exploding"][0] == "RunError" and "training failed at step 2" in first["exploding"][1]
        assert second["refused"][0] == second["exploding"][0] == "SaidByTheFirst"


def test_a_shared_run_folder_takes_keywords(tmp_path):
    folder = RunFolder(tmp_path, EXPERIMENT, 1)
    shared = SharedRunFolder(folder, SimpleNamespace(first_does=lambda action: action()))
    shared.save_checkpoint({})
    shared.complete({"seed": 1}, keep_checkpoint=True)
    assert shared.has_checkpoint and shared.metrics == {"seed": 1}


def test_parts_are_contiguous_whole_and_nearly_equal():
    for count in (0, 1, 7, 12):
        for size in (1, 2, 5):
            parts = [rows_of(count, rank, size) for rank in range(size)]
            assert [place for part in parts for place in part] == list(range(count))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [list(Part(list("abcde"), rank, 2)) for rank in (0, 1)] == [["a", "b"], ["c", "d", "e"]]


def refusal(capsys, *arguments):
    assert main(["run", "--dry-run", "--expid", "LR_demo", *map(str, arguments)]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", 2], "--workers needs --distributed ray or --distributed torchrun"),
        (["--distributed", "torchrun"], "--distributed torchrun needs --workers N"),
        (["--distributed", "torchrun", "--workers", 0], "--workers 0: expected a number of at least 1"),
        (
            ["--distributed", "torchrun", "--workers", 8, "--set", "batch_size=7"],
            "LR_demo: batch_size: 7 rows, the batch of all, are too few for 8 workers",
        ),
        (
            [
                "--distributed",
                "torchrun",
                "--workers",
                2,
                "--set",
                "self_ensemble=true",
                "consistency=cosine",
            ],
            "LR_demo: consistency: cosine is that of whole batches",
        ),
        (
            ["--distributed", "torchrun", "--workers", 2, "--set", "model=tests.training.dying:OwnStep"],
            "tests.training.dying:OwnStep has a train_step of its own, which knows no other workers",
        ),
        (["--distributed", "torchrun", "--workers", 2, "--gpu", 0], "--gpu 0 names one GPU, but each worker"),
    ],
)
def test_requests_that_cannot_be(arguments, message, capsys):
    assert message in refusal(capsys, *arguments)


def test_without_ray_the_extra_is_named(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest)
    )
    said = refusal(capsys, "--distributed", "ray", "--workers", 2)
    assert said == "fuxictr: --distributed ray: Ray is not installed: pip install 'fuxictr-qnn[ray]'\n"


def test_under_torchrun_the_number_of_workers_is_torchruns(monkeypatch, capsys):
    place = {"RANK": 0, "WORLD_SIZE": 9, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 9, "MASTER_PORT": 1}
    for name, value in {**place, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))
    assert "torchrun has started the workers already" in refusal(capsys, "--workers", 2)
    assert "7 rows, the batch of all, are too few for 9" in refusal(capsys, "--set", "batch_size=7")
    monkeypatch.setenv("RANK", "1")  # the others leave the message to the first
    with pytest.raises(SystemExit) as left:
        main(["run", "--expid", "nobody"])
    assert left.value.code == 2 and capsys.readouterr().err == ""


# Workers that are lost, through the command line

CONFIG = """
Dying:
    model: tests.training.dying:Dying
    dataset_id: tiny
    embedding_dim: 4
    hidden_units: [8]
    batch_norm: true
    learning_rate: 0.01
    batch_size: 100
    epochs: 3
    metrics: [AUC, logloss]
    monitor: AUC
"""
DATASET = """
tiny:
    train_data: tiny/train.csv
    valid_data: tiny/valid.csv
    test_data: tiny/test.csv
    feature_cols: [{name: user}, {name: item}]
    label_col: {name: click}
"""


def start(how, folder, clicks, out, *options, dies=None):  # noqa: F811
    """`fuxictr run` of a model whose second worker, told so, dies once at the second epoch."""
    folder.mkdir(exist_ok=True)
    (folder / "model_config.yaml").write_text(CONFIG)
    (folder / "dataset_config.yaml").write_text(DATASET)
    command = ["run", "--config", folder, "--expid", "Dying", "--data-root", clicks, "--out", out]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DIES": str(dies or ""),
        "RAY_worker_niceness": "0",  # as in tests/data/test_ray.py
    }
    done = subprocess.run(
        [sys.executable, *how, *map(str, command), "--gpu", "-1", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    return done


FUXICTR = ["-m", "fuxictr_qnn"]
TORCHRUN = [
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "--max-restarts",
    "2",
    "-m",
]
WAYS = {
    "ray": (FUXICTR, ["--distributed", "ray", "--workers", "2"]),
    "torchrun": (FUXICTR, ["--distributed", "torchrun", "--workers", "2"]),
    "under torchrun": ([*TORCHRUN, "fuxictr_qnn"], []),
}


@pytest.fixture(scope="module")
def undisturbed(clicks, tmp_path_factory):  # noqa: F811
    """Metrics and history of one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = start(FUXICTR, folder / "config", clicks, folder / "runs")
    assert done.returncode == 0, done.stderr
    return written(folder / "runs")


def written(runs):
    """metrics.json and history.jsonl of the one run there."""
    (folder,) = runs.glob("*/*")
    lines = (folder / "history.jsonl").read_text().splitlines()
    return json.loads((folder / "metrics.json").read_text()), [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("way", sorted(WAYS))
def test_after_a_lost_worker_training_goes_on_from_the_checkpoint(way, undisturbed, clicks, tmp_path):  # noqa: F811
    """Without dropout it is the training of one process that nothing happened to.

    Losses agree to rounding. Metrics do not: biases before a batch norm have no gradient but rounding, which
    Adam makes steps of, and evaluation sees them; another order of the rows in a batch moves it as far.
    """
    how, options = WAYS[way]
    marker = tmp_path / "died"
    done = start(how, tmp_path / "config", clicks, tmp_path / "runs", *options, dies=marker)
    assert done.returncode == 0, done.stderr
    assert marker.exists() and done.stdout.count("wrote ") == 1
    assert "resumed after evaluation 1, step 15" in done.stdout
    (metrics, history), (expected, expected_history) = written(tmp_path / "runs"), undisturbed
    assert metrics["workers"] == 2 and metrics["config_digest"] == expected["config_digest"]
    for record, before in zip(history, expected_history, strict=True):
        assert record["train_loss"] == pytest.approx(before["train_loss"], rel=1e-4)
    for split in ("valid", "test"):
        assert metrics[split] == pytest.approx(expected[split], abs=0.02)
    again = start(how, tmp_path / "config", clicks, tmp_path / "runs", *options)
    assert again.returncode == 0 and "complete already" in again.stdout and "kept " in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_no_restart_mends_is_said_once(way, clicks, tmp_path):  # noqa: F811
    how, options = WAYS[way]
    (tmp_path / "empty").mkdir()
    done = start(how, tmp_path / "config", tmp_path / "empty", tmp_path / "runs", *options)
    assert done.returncode == (1 if way == "under torchrun" else 2)
    own = [line for line in done.stderr.splitlines() if line.startswith("fuxictr: ")]
    attempts = 3 if way == "under torchrun" else 1  # torchrun restarts after any failure
    assert sum("train_data: 'tiny/train.csv' is at none of" in line for line in own) == attempts
    assert "Traceback" not in done.stdout
