"""`--engine ray`: the same build, by FuxiCTR's encoder in Ray tasks."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from data_support import SMALL, make_spec, quiet, refused_and_unchanged, small_spec, write_small
from test_equals_fuxictr import csv_config, parquet_config, write_csv_data, write_parquet_data

from fuxictr_qnn.cli import main
from fuxictr_qnn.data import Places, build_dataset
from fuxictr_qnn.data.raw import reading

BUILD = """
import json, sys
from pathlib import Path
from data_support import make_spec, quiet
from fuxictr_qnn.data import Places, build_dataset
from fuxictr_qnn.data.raw import reading

if __name__ == "__main__":
    reading.BLOCK_BYTES = 4000  # many blocks, which Ray may not mix up
    for name, config in json.loads(Path("configs.json").read_text()).items():
        places = Places(data_root=Path("data"), build_dir=Path("ray"))
        build_dataset(make_spec(name, config), places, log=quiet, engine="ray")
"""
# On a busy machine Ray's processes, which give way to all others, start late.
PATIENT = {"RAY_worker_niceness": "0"}


@pytest.mark.slow
def test_it_builds_what_the_local_engine_builds(tmp_path, monkeypatch):
    write_csv_data(tmp_path / "csv")
    write_parquet_data(tmp_path / "parquet")
    write_small(tmp_path / "data", rows=600)
    processed = [
        {"name": "item", "dtype": "int", "category_processor": "hash_bucket", "num_buckets": 5},
        {"name": "user", "dtype": "str", "type": "categorical"},
    ]
    cut = {"train_data": "train.csv", "valid_size": 0.2, "split_type": "random", "weight_col": "price_weight"}
    raw = pl.read_csv(tmp_path / "data" / "small" / "train.csv")
    raw.with_columns(price_weight=pl.col("price").abs()).write_csv(tmp_path / "data" / "small" / "train.csv")
    configs = {
        "many_kinds": csv_config(tmp_path / "csv"),
        "lists": parquet_config(tmp_path / "parquet"),
        "small": {"feature_cols": processed, "label_col": SMALL["label_col"], **cut},
    }
    (tmp_path / "configs.json").write_text(json.dumps(configs))
    (tmp_path / "build.py").write_text(BUILD)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    subprocess.run(
        [sys.executable, "build.py"],
        cwd=tmp_path,
        env={**os.environ, **PATIENT, "PYTHONPATH": paths},
        check=True,
        timeout=1200,
    )
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4000)  # which decides the last digit of a deviation
    for name, config in configs.items():
        places = Places(data_root=tmp_path / "data", build_dir=tmp_path / "local")
        local = build_dataset(make_spec(name, config), places, log=quiet)
        other = tmp_path / "ray" / name / local.folder.name  # the same fingerprint
        assert sorted(file.name for file in other.iterdir()) == sorted(
            file.name for file in local.folder.iterdir()
        )
        for file in local.folder.iterdir():
            if file.suffix == ".parquet":
                one, two = pl.read_parquet(file), pl.read_parquet(other / file.name)
                assert one.schema == two.schema and one.equals(two), file.name
            elif file.name != "build.json":  # which holds the seconds
                assert file.read_bytes() == (other / file.name).read_bytes(), file.name


class TestWithoutRay:
    @pytest.fixture(autouse=True)
    def _gone(self, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest)
        )

    def test_one_sentence_before_anything_else(self, capsys, tmp_path):
        assert main(["run", "--engine", "ray", "--dry-run", "--out", str(tmp_path / "runs")]) == 2
        assert capsys.readouterr().err == (
            "fuxictr: --engine ray: Ray is not installed: pip install 'fuxictr-qnn[ray]'\n"
        )

    def test_a_build_is_refused_and_leaves_nothing(self, tmp_path):
        places = write_small(tmp_path)
        (problem,) = refused_and_unchanged(small_spec(), places, engine="ray")
        assert "pip install" in problem
