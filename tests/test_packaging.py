"""What is installed: the package list, the wheel's contents, and that it runs from anywhere."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_package_list_is_the_tree(setup_cfg):
    code = {path.parent for path in (ROOT / "fuxictr_qnn").rglob("*.py")}
    zoo = {path.parent for path in (ROOT / "model_zoo").rglob("*.yaml")} | {ROOT / "model_zoo"}
    names = {".".join(path.relative_to(ROOT).parts) for path in code}
    names |= {".".join(["fuxictr_qnn", *path.relative_to(ROOT).parts]) for path in zoo}
    names.add("fuxictr_qnn.data_configs")
    assert sorted(setup_cfg["options"]["packages"].split()) == sorted(names)


def test_folders_of_configs_are_no_packages():
    assert not list((ROOT / "model_zoo").rglob("__init__.py"))
    assert not list((ROOT / "data_configs").rglob("__init__.py"))


def test_pyproject_holds_only_the_build_system():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[build-system]"]


def test_entry_points_name_what_is_there(setup_cfg):
    from fuxictr_qnn.models.registry import OWN_MODELS

    models = dict(
        line.split(" = ") for line in setup_cfg["options.entry_points"]["fuxictr.models"].split("\n") if line
    )
    assert models == {name: f"fuxictr_qnn.models:{name}" for name in OWN_MODELS}


CHEAP = """
import sys
from fuxictr_qnn.cli import main
for command in ("list models", "list expids", "list datasets", "run --expid nobody", "run --set epochs"):
    main(command.split())
print([name for name in ("torch", "ray", "fuxictr.pytorch", "scipy") if name in sys.modules])
"""


def test_lists_and_refusals_do_not_wait_for_torch():
    done = subprocess.run([sys.executable, "-c", CHEAP], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_wheel_runs_from_an_empty_directory(tmp_path):
    pip = [sys.executable, "-m", "pip", "-q"]
    source = tmp_path / "source"  # setuptools leaves build/ where it builds
    for name in ("fuxictr_qnn", "model_zoo", "data_configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, source], check=True)
    wheel = next(tmp_path.glob("fuxictr_qnn-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fuxictr_qnn"}
    assert "fuxictr_qnn/model_zoo/QNNalpha/model_config.yaml" in names
    assert "fuxictr_qnn/data_configs/frappe_x1.yaml" in names
    assert {"fuxictr_qnn/reporting/published.yaml", "fuxictr_qnn/comparing/space.yaml"} <= set(names)

    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}

    def fuxictr(*arguments: str) -> str:
        command = [sys.executable, site / "bin" / "fuxictr", *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "QNNalpha_demo" in fuxictr("list", "expids")
    assert "QNNalpha_demo" in fuxictr("run", "--dry-run")
    assert list(empty.iterdir()) == []
    where = "import fuxictr_qnn.paths as p; print(p.shipped('model_zoo'))"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=empty, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == site / "fuxictr_qnn" / "model_zoo"

    assert "QNNalpha_demo" in fuxictr("run", "--gpu", "-1", "--set", "epochs=1", "batch_size=5000")
    metrics = json.loads(next(empty.glob("runs/QNNalpha_demo-*/seed*/metrics.json")).read_text())
    assert metrics["epochs"] == 1 and 0.5 < metrics["test"]["AUC"] < 1
