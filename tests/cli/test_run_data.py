"""`fuxictr run` on data that is not built here, or not held in memory."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
import yaml

from fuxictr_qnn.cli import main

AUTHORS_MODEL = """
Base: {model_root: ./checkpoints/, workers: 3, verbose: 1, patience: 2, pickle_feature_encoder: True,
       use_hdf5: True, save_best_only: True, every_x_epochs: 1, debug: False, num_workers: 1}
QNN_T26_Criteo_x4_10_h5:
    model: QNN_T26
    dataset_id: Criteo_x4_10_h5
    loss: binary_crossentropy
    metrics: [logloss, AUC]
    task: binary_classification
    optimizer: adam
    learning_rate: 1.0e-3
    embedding_dim: 4
    num_layers: 1
    num_row: 2
    net_dropout: 0.1
    batch_size: 64
    epochs: 1
    shuffle: True
    seed: 2024
    monitor: AUC
    monitor_mode: max
"""
VOCABULARY = {"I1": 12, "I2": 5, "C1": 40, "C2": 7}


def rows(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = {name: rng.integers(1, size, count) for name, size in VOCABULARY.items()}
    return features | {"Label": (rng.random(count) < 0.2 + 0.6 * (features["C1"] % 2)).astype(float)}


def old_folder(root: Path) -> Path:
    """A config directory, and what FuxiCTR 2.0.1 left of Criteo_x4_10_h5; the same in parquet beside it."""
    features = [
        {
            name: {
                "source": "",
                "type": "categorical",
                "padding_idx": 0,
                "oov_idx": size - 1,
                "vocab_size": size,
            }
        }
        for name, size in VOCABULARY.items()
    ]
    feature_map = {"num_fields": 4, "total_features": 64, "input_length": 4, "labels": ["Label"]}
    datasets = {}
    for kind in ("h5", "parquet"):
        name = f"Criteo_x4_10_{kind}"
        folder = root / "data" / "Criteo" / name
        folder.mkdir(parents=True)
        content = {"dataset_id": name, **feature_map, "features": features}
        (folder / "feature_map.json").write_text(json.dumps(content))
        for seed, (split, count) in enumerate({"train": 300, "valid": 90, "test": 90}.items()):
            if kind == "parquet":
                pl.DataFrame(rows(count, seed)).write_parquet(folder / f"{split}.parquet")
                continue
            with h5py.File(folder / f"{split}.h5", "w") as file:
                for column, values in rows(count, seed).items():
                    file.create_dataset(column, data=values)
        (folder / "feature_processor.pkl").write_bytes(b"cos\nabort\n(tR.")
        paths = {
            f"{split}_data": f"../data/Criteo/{name}/{split}.{kind}" for split in ("train", "valid", "test")
        }
        datasets[name] = {"data_root": "../data/Criteo/", "data_format": kind, **paths}
    (root / "config").mkdir()
    (root / "config" / "model_config.yaml").write_text(AUTHORS_MODEL)
    (root / "config" / "dataset_config.yaml").write_text(yaml.safe_dump(datasets))
    return root / "config"


def metrics_of(out: Path) -> dict:
    (file,) = out.glob("*/seed*/metrics.json")
    content = json.loads(file.read_text())
    return {key: content[key] for key in ("valid", "test")}


def test_the_authors_h5_folder_trains_as_its_rows_do_in_parquet(tmp_path, monkeypatch, capsys):
    config = old_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--config", str(config), "--gpu", "-1", "--expid", "QNN_T26_Criteo_x4_10_h5"]
    assert main([*arguments, "--dry-run"]) == 0
    assert not (tmp_path / "runs").exists()
    assert main([*arguments, "--out", "h5"]) == 0
    assert main([*arguments, "--set", "dataset_id=Criteo_x4_10_parquet", "--out", "parquet"]) == 0
    assert metrics_of(tmp_path / "h5") == metrics_of(tmp_path / "parquet")
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    assert "is ready in" in capsys.readouterr().out
    (tmp_path / "data" / "Criteo" / "Criteo_x4_10_h5" / "test.h5").write_bytes(b"")
    assert main([*arguments, "--out", "none"]) == 2
    assert "test.h5' is no HDF5 file" in capsys.readouterr().err and not (tmp_path / "none").exists()


class TestStreaming:
    def run(self, *arguments: object) -> int:
        return main(["run", "--config", "config", "--gpu", "-1", "--expid", "QNN_shop", *map(str, arguments)])

    def test_unshuffled_it_learns_exactly_what_it_learns_from_memory(self, shop, capsys):
        for out, streaming in (("held", "false"), ("streamed", "true")):
            settings = ["shuffle=false", f"streaming={streaming}", "memory_budget=1e-5"]
            assert self.run("--out", out, "--set", *settings) == 0
        held, streamed = (next((shop.root / out).glob("*/seed7")) for out in ("held", "streamed"))
        assert held.parent.name == streamed.parent.name  # what suits the machine names no run
        assert metrics_of(shop.root / "held") == metrics_of(shop.root / "streamed")
        assert "streaming from disk" in (streamed / "run.log").read_text() + capsys.readouterr().out

    def test_data_over_the_budget_is_streamed_by_itself(self, shop, capsys):
        assert self.run("--set", "memory_budget=1e-6") == 0
        assert "streaming from disk" in capsys.readouterr().out
        (config,) = shop.root.glob("runs/*/seed7/config.yaml")
        buffer_bytes = int(1e-6 * 2**30 / 2)
        assert yaml.safe_load(config.read_text())["buffer_bytes"] == buffer_bytes
        first = json.loads((config.parent / "metrics.json").read_text())
        assert first["buffer_bytes"] == buffer_bytes
        # A replay does not ask how much memory there is: other windows would give other numbers.
        assert main(["run", "--config", str(config), "--out", "again", "--gpu", "-1"]) == 0
        assert metrics_of(shop.root / "again") == {key: first[key] for key in ("valid", "test")}

    @pytest.mark.parametrize("began", ["true", "false"])
    def test_a_resumed_run_keeps_to_how_it_began(self, shop, monkeypatch, began):
        """However much memory there is then: the same batches give the same numbers."""
        from fuxictr_qnn.training import run_folder

        other = "false" if began == "true" else "true"
        settings = ["memory_budget=1e-5", "eval_steps=3", "early_stop_patience=9"]
        assert self.run("--out", "whole", "--set", *settings, f"streaming={began}") == 0
        save = run_folder.RunFolder.save_checkpoint

        def killed(folder, state):
            save(folder, state)
            if state["position"]["evaluations"] == 2:  # in the middle of an epoch
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(run_folder.RunFolder, "save_checkpoint", killed)
            assert self.run("--out", "cut", "--set", *settings, f"streaming={began}") == 130
        assert self.run("--out", "cut", "--resume", "--set", *settings, f"streaming={other}") == 0
        assert metrics_of(shop.root / "cut") == metrics_of(shop.root / "whole")

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("streaming=sometimes", "streaming = 'sometimes': expected"),
            ("memory_budget=0", "memory_budget = 0: expected a number above 0"),
        ],
    )
    def test_wrong_settings(self, shop, capsys, setting, words):
        before = shop.files()
        assert self.run("--set", setting) == 2
        assert words in capsys.readouterr().err and shop.files() == before
