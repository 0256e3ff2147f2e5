"""`fuxictr run --init-from` and going on with more epochs, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.cli import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> int:
    return main(["run", "--config", "config", "--gpu", "-1", *map(str, arguments)])


def started(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "fuxictr_qnn", "run", "--config", "config", "--gpu", "-1"]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folders(shop, seed=7) -> dict[str, Path]:
    """Digest -> complete run of QNN_shop."""
    found = shop.root.glob(f"runs/QNN_shop-*/seed{seed}/metrics.json")
    return {file.parent.parent.name.rpartition("-")[2]: file.parent for file in found}


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def next_day(shop) -> None:
    """Users u5 ... u24 instead of u0 ... u19."""
    for file in (shop.root / "data" / "shop").glob("*.csv"):
        head, *lines = file.read_text().splitlines()
        rows = [line.split(",") for line in lines]
        moved = [f"{label},u{int(user[1:]) + 5},{item}" for label, user, item in rows]
        file.write_text("\n".join([head, *moved]) + "\n")


def test_the_next_day_by_a_real_process(shop):
    """Cold run, newer data, warm run with two seeds; its config.yaml replays it."""
    assert run("--expid", "QNN_shop") == 0
    (cold,) = folders(shop).values()
    next_day(shop)
    process = started("--expid", "QNN_shop", "--init-from", cold, "--seeds", 2)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "started from" in output and "user: tokens 15 carried, 5 new, 5 gone" in output
    (warm,) = set(folders(shop).values()) - {cold}
    assert folders(shop, 8).keys() == {warm.parent.name.rpartition("-")[2]}
    found = metrics(warm)["warm_start"]
    assert found["features"]["user"]["tokens"] == {"carried": 15, "new": 5, "gone": 5}
    assert found["features"]["user"]["rows"] == {"carried": 17, "new": 5, "gone": 5}
    assert found["from"] == str(cold.absolute()) and found["left"] == []
    assert main(["run", "--config", str(warm / "config.yaml"), "--out", "again", "--gpu", "-1"]) == 0
    again = shop.root / "again" / warm.relative_to(shop.root / "runs")
    assert metrics(again)["test"] == metrics(warm)["test"] and metrics(again)["warm_start"] == found


def test_an_expid_means_its_newest_run_and_a_key_does_the_same(shop, capsys):
    assert run("--expid", "QNN_shop", "--set", "epochs=1") == 0
    (cold,) = folders(shop).values()
    assert run("--expid", "QNN_shop", "--init-from", "QNN_shop") == 0
    (warm,) = set(folders(shop).values()) - {cold}
    assert yaml.safe_load((warm / "config.yaml").read_text())["experiment"]["init_from"]["weights"] == str(
        cold
    )
    capsys.readouterr()
    assert run("--expid", "QNN_shop", "--set", f"init_from={cold}") == 0
    assert "kept runs" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_it_goes_on(shop):
    assert run("--expid", "QNN_shop") == 0
    (cold,) = folders(shop).values()
    arguments = ("--expid", "QNN_shop", "--init-from", cold, "--set", "epochs=60", "early_stop_patience=500")
    process = started(*arguments)
    for line in process.stdout:
        if "epoch 3/" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    short = ("--expid", "QNN_shop", "--init-from", cold, "--set", "early_stop_patience=500", "epochs=60")
    (begun,) = {file.parent for file in shop.root.glob("runs/QNN_shop-*/seed7/checkpoint.pt")} - {cold}
    assert not (begun / "metrics.json").exists() and (begun / "warm_start.json").exists()
    assert run(*short) == 2  # incomplete: --resume or --force
    assert run(*short, "--resume") == 0
    assert metrics(begun)["epochs"] == 60
    lines = [json.loads(line)["evaluation"] for line in (begun / "history.jsonl").read_text().splitlines()]
    assert lines == list(range(1, 61))


def test_more_epochs_go_on_where_the_shorter_run_ended(shop, capsys):
    patient = ("--expid", "QNN_shop", "--set", "early_stop_patience=50")
    assert run(*patient, "epochs=2") == 0
    assert run(*patient, "epochs=4", "--resume") == 0
    assert "goes on after the 2 epochs of" in capsys.readouterr().out
    assert run(*patient, "epochs=4", "--out", "whole") == 0
    (longer,) = [folder for folder in folders(shop).values() if metrics(folder)["epochs"] == 4]
    whole = shop.root / "whole" / longer.relative_to(shop.root / "runs")
    for part in ("valid", "test", "best_epoch"):
        assert metrics(longer)[part] == metrics(whole)[part]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nowhere", "neither a folder nor an experiment"),
        ("no/such/folder", "is not there"),
        ("data", "is no run folder"),
        ("config/dataset_config.yaml", "cannot be read as weights"),
    ],
)
def test_bad_places_are_refused_before_anything_is_written(shop, capsys, where, said):
    assert run("--expid", "QNN_shop", "--init-from", where) == 2
    assert said in capsys.readouterr().err
    assert not list(shop.root.glob("runs/**/config.yaml"))


def damaged(file: Path, change) -> None:
    content = file.read_text()
    file.unlink()  # perhaps a hard link to the build
    file.write_text(change(content))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("metrics.json", lambda text: "{", "metrics.json' cannot be read as JSON"),
        (
            "metrics.json",
            lambda text: json.dumps(json.loads(text) | {"versions": {"fuxictr-qnn": "99.0"}}),
            "was made by fuxictr-qnn 99.0",
        ),
        ("config.yaml", lambda text: text.replace("num_row: 2", "num_row: 3"), "was changed after its run"),
        ("features/preprocessing.json", lambda text: '{"a":', "preprocessing.json' cannot be read as JSON"),
    ],
)
def test_a_folder_that_is_not_as_its_run_left_it_is_refused(shop, capsys, name, change, said):
    """As by its expid, whether the option or the key names it."""
    assert run("--expid", "QNN_shop", "--set", "epochs=1") == 0
    (cold,) = folders(shop).values()
    damaged(cold / name, change)
    for where, begin in (
        (["--init-from", cold], f"--init-from {cold}: "),
        (["--init-from", cold.parent], f"--init-from {cold.parent}: "),
        (["--init-from", "QNN_shop"], "--init-from QNN_shop: "),
        (["--set", f"init_from={cold}"], "--set init_from: init_from: "),
    ):
        capsys.readouterr()
        assert run("--expid", "QNN_shop", *where) == 2
        error = capsys.readouterr().err
        assert said in error and begin in error and "--run" not in error
    assert list(folders(shop).values()) == [cold]
