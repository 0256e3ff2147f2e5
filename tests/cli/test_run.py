"""`fuxictr run`: from arguments to run folders and a table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.cli import main
from tests.own_model import write_zoo

ROOT = Path(__file__).resolve().parents[2]
BY_LOGLOSS = ("metrics=[logloss]", "monitor=logloss", "monitor_mode=min")


def run(*arguments: object) -> int:
    return main(["run", "--config", "config", "--gpu", "-1", *map(str, arguments)])


def seed_folders(shop, expid: str) -> dict[int, dict]:
    files = shop.root.glob(f"runs/{expid}-*/seed*/metrics.json")
    return {metrics["seed"]: metrics for metrics in (json.loads(file.read_text()) for file in files)}


class TestRuns:
    def test_several_experiments_and_seeds_in_one_table(self, shop, capsys):
        assert run("--expid", "LR_shop", "QNN_shop", "--seeds", 2) == 0
        output = capsys.readouterr().out
        for expid in ("LR_shop", "QNN_shop"):
            metrics = seed_folders(shop, expid)
            assert sorted(metrics) == [7, 8]
            assert f"{metrics[7]['test']['AUC']:.5f}" in output
        assert output.count("mean ± sd") == 2
        assert seed_folders(shop, "QNN_shop")[7]["model_class"] == "fuxictr_qnn.models.qnn_alpha:QNNalpha"

    def test_a_complete_run_is_kept_and_force_runs_it_again(self, shop, capsys):
        assert run("--expid", "LR_shop") == 0
        before = seed_folders(shop, "LR_shop")
        capsys.readouterr()
        assert run("--expid", "LR_shop") == 0
        assert "kept runs" in capsys.readouterr().out
        assert seed_folders(shop, "LR_shop") == before
        assert run("--expid", "LR_shop", "--force") == 0
        assert "wrote runs" in capsys.readouterr().out
        again = seed_folders(shop, "LR_shop")
        assert again[7]["test"] == before[7]["test"] and again[7]["seconds"] != before[7]["seconds"]

    def test_a_run_folder_replays_itself(self, shop):
        assert run("--expid", "QNN_shop", "--set", "num_row=3", "--seed", 5) == 0
        config = next(shop.root.glob("runs/QNN_shop-*/seed5/config.yaml"))
        assert main(["run", "--config", str(config), "--out", "again", "--gpu", "-1"]) == 0
        first = json.loads((config.parent / "metrics.json").read_text())
        name = config.relative_to(shop.root / "runs").parent
        second = json.loads((shop.root / "again" / name / "metrics.json").read_text())
        assert (first["seed"], first["valid"], first["test"]) == (5, second["valid"], second["test"])

    def test_set_reaches_the_run(self, shop):
        assert run("--expid", "LR_shop", "--set", "epochs=1", *BY_LOGLOSS) == 0
        metrics = seed_folders(shop, "LR_shop")[7]
        assert metrics["epochs"] == 1 and list(metrics["test"]) == ["logloss"]

    def test_set_of_another_key_is_another_run(self, shop):
        assert run("--expid", "LR_shop") == run("--expid", "LR_shop", "--set", "epochs=1") == 0
        assert len(list(shop.root.glob("runs/LR_shop-*"))) == 2


class TestFuxiCTRsFolders:
    def encode(self, shop) -> None:
        """Train on the raw data, then leave only what the build made of it."""
        assert run("--expid", "QNN_shop") == 0
        build = next(shop.root.glob("data/shop/built-*"))
        shutil.copytree(build, shop.root / "encoded" / "shop")
        shutil.rmtree(shop.root / "data")
        keys = {f"{split}_data": f"../encoded/shop/{split}.parquet" for split in ("train", "valid", "test")}
        keys |= {"data_root": "../encoded/", "data_format": "parquet", "rebuild_dataset": False}
        (shop.config / "dataset_config.yaml").write_text(yaml.safe_dump({"shop": keys}))

    def test_encoded_data_without_columns(self, shop):
        self.encode(shop)
        assert run("--expid", "QNN_shop", "--out", "from_encoded") == 0
        raw = json.loads(next(shop.root.glob("runs/QNN_shop-*/seed7/metrics.json")).read_text())
        encoded = json.loads(next(shop.root.glob("from_encoded/QNN_shop-*/seed7/metrics.json")).read_text())
        assert encoded["test"] == raw["test"]

    def test_code_in_a_feature_map(self, shop, capsys):
        self.encode(shop)
        file = shop.root / "encoded" / "shop" / "feature_map.json"
        content = json.loads(file.read_text())
        content["features"][0]["user"]["feature_encoder"] = "__import__('pathlib').Path('hacked').touch()"
        file.write_text(json.dumps(content))
        assert run("--expid", "QNN_shop", "--out", "from_encoded") == 2
        assert "feature_map.json: user: feature_encoder" in capsys.readouterr().err
        assert not (shop.root / "hacked").exists() and not (shop.root / "from_encoded").exists()

    def test_a_model_of_a_checkout(self, shop, capsys):
        write_zoo(shop.root / "zoo")
        arguments = ["model=Tiny", "hidden_units=[8]", "their_key=3"]
        assert run("--expid", "LR_shop", "--zoo", "zoo", "--set", *arguments) == 0
        assert "Tiny names no parameter their_key" in capsys.readouterr().out
        assert seed_folders(shop, "LR_shop")[7]["model_class"].endswith(":Tiny")


class TestInterrupted:
    def test_goes_on_where_it_stopped(self, shop):
        arguments = ["run", "--config", "config", "--gpu", "-1", "--expid", "QNN_shop"]
        arguments += ["--set", "epochs=12", "early_stop_patience=12", "learning_rate=1e-4"]
        command = [sys.executable, "-m", "fuxictr_qnn", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout:  # plain lines, as they happen
                if line.startswith("epoch 2/12"):
                    break
            process.send_signal(signal.SIGINT)
            errors = process.communicate(timeout=60)[1]
        assert process.returncode == 130 and errors.count("\n") == 1 and "--resume" in errors
        assert not list(shop.root.glob("runs/*/*/metrics.json"))

        assert main([*arguments, "--resume"]) == 0
        assert main([*arguments, "--out", "uninterrupted"]) == 0
        resumed, whole = (
            json.loads(next(shop.root.glob(f"{out}/*/seed7/metrics.json")).read_text())
            for out in ("runs", "uninterrupted")
        )
        for key in ("valid", "test", "epochs", "best_epoch"):
            assert resumed[key] == whole[key]


class TestDryRun:
    def test_shows_the_config_and_writes_nothing(self, shop, capsys):
        before = shop.files()
        assert run("--expid", "QNN_shop", "--dry-run", "--set", "num_row=3") == 0
        output = capsys.readouterr().out
        assert "num_row: 3" in output and "not built yet" in output and shop.files() == before

    def test_counts_parameters_of_built_data(self, shop, capsys):
        assert run("--expid", "QNN_shop") == 0
        before = shop.files()
        capsys.readouterr()
        assert run("--expid", "QNN_shop", "--dry-run") == 0
        parameters = seed_folders(shop, "QNN_shop")[7]["parameters"]
        assert f"{parameters:,} parameters" in capsys.readouterr().out and shop.files() == before


def explained(capsys, *parts: str) -> str:
    errors = capsys.readouterr().err
    for part in parts:
        assert part in errors
    assert "Traceback" not in errors
    return errors


class TestWrongRequests:
    """Exit code 2, one message that names everything, and everything on disk as it was."""

    def test_every_problem_of_every_experiment(self, shop, capsys):
        before = shop.files()
        code = run(
            *(
                "--expid",
                "LR_shopp",
                "QNN_shop",
                "--set",
                "num_rows=3",
                "metrics=[AUC, loglos]",
                "epochs=long",
            ),
            *("--gpu", "99", "--out", "config/dataset_config.yaml/runs", "--seeds", "0"),
        )
        assert code == 2 and shop.files() == before
        errors = explained(
            capsys, "'LR_shop'", "'num_row'", "'logloss'", "epochs = 'long'", "--gpu 99", "--out", "--seeds 0"
        )
        assert errors.startswith("fuxictr: 7 problems\n")

    @pytest.mark.parametrize(
        ("key", "parts"),
        [
            ("model=QNNalfa", ["QNNalfa", "'QNNalpha'"]),
            ("dataset_id=shopp", ["'shopp'", "'shop'"]),
            ("embedding_dim=four", ["embedding_dim", "a whole number"]),
            ("metrics=[gAUC]", ["group_id"]),
            ("num_layers=!!python/object/apply:os.getcwd []", ["tag"]),
            ("embedding_regularizer=__import__('os').getcwd()", ["embedding_regularizer", "l1_l2"]),
            ("num_heads=3", ["num_heads"]),
            ("group_id=usr", ["group_id", "'user'"]),
            ("use_features=[user, itme]", ["use_features", "'item'"]),
            ("optimizer=adamm", ["optimizer", "'Adam'"]),
            ("embedding_dim=-4", ["embedding_dim = -4", "at least 1"]),
            ("valid_data=null", ["valid_data must be set"]),
            ("model=:X", ["model: :X is not known"]),
            ("model=json:JSONDecoder", ["no subclass of fuxictr.pytorch.models.BaseModel"]),
        ],
    )
    def test_config(self, shop, capsys, key, parts):
        assert run("--expid", "QNN_shop", "--set", key) == 2
        explained(capsys, *parts)
        assert not (shop.root / "runs").exists()

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (["--seed", "4294967296"], "--seed 4294967296: expected a whole number from 0 to 2**32 - 1"),
            (["--seed", "-1"], "--seed -1: expected a whole number"),
            (["--seeds", "4294967290"], "--seeds 4294967290: the last would be 4294967296"),
            (["--set", "seed=4294967296"], "--set seed: seed = 4294967296"),
            (["--gpu", "-7"], "--gpu -7"),
        ],
    )
    def test_numbers_out_of_range(self, shop, capsys, arguments, part):
        before = shop.files()
        assert run("--expid", "LR_shop", *arguments) == 2 and shop.files() == before
        explained(capsys, part)

    def test_missing_data(self, shop, capsys):
        shutil.rmtree(shop.root / "data")
        before = shop.files()
        assert run("--expid", "LR_shop") == 2 and shop.files() == before
        errors = explained(capsys, "train_data", "valid_data", "test_data", "--data-root")
        assert str(shop.root / "data" / "shop" / "train.csv") in errors

    def test_an_unfinished_run_wants_a_decision(self, shop, capsys):
        assert run("--expid", "LR_shop") == 0
        folder = next(shop.root.glob("runs/LR_shop-*/seed7"))
        (folder / "metrics.json").unlink()
        assert run("--expid", "LR_shop") == 2
        explained(capsys, "--resume", "--force")
        assert run("--expid", "LR_shop", "--resume") == 0
        assert (folder / "metrics.json").exists()

    def test_arguments_that_exclude_each_other(self, capsys):
        for arguments in (
            ["--seed", "1", "--seeds", "2"],
            ["--resume", "--force"],
            ["--amp", "fp8"],
            ["--what"],
        ):
            with pytest.raises(SystemExit) as caught:
                main(["run", *arguments])
            assert caught.value.code == 2


class TestFailures:
    def test_a_failure_while_running_is_1(self, shop, capsys):
        assert run("--expid", "QNN_shop", "--set", "learning_rate=1e30", "epochs=50", "batch_norm=true") == 1
        explained(capsys, "fuxictr: ")
        assert not list(shop.root.glob("runs/*/*/metrics.json"))

    @pytest.mark.parametrize(("debug", "code"), [([], 1), (["--debug"], None)])
    def test_a_bug_shows_its_traceback_with_debug_only(self, shop, capsys, monkeypatch, debug, code):
        import fuxictr_qnn.training.run as training

        def broken(*_, **__):
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(training, "open_dataset", broken)
        if debug:
            with pytest.raises(ZeroDivisionError):
                run("--expid", "LR_shop", *debug)
        else:
            assert run("--expid", "LR_shop") == code
            explained(capsys, "ZeroDivisionError: a bug", "--debug")

    def test_an_interrupt_is_one_line(self, shop, capsys, monkeypatch):
        import fuxictr_qnn.training.run as training

        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(training, "open_dataset", interrupted)
        assert run("--expid", "LR_shop") == 130
        assert len(explained(capsys, "--resume").splitlines()) == 1
