"""A small click log and the configs of some models on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.opening import Prepared, open_comparison, prepare
from fuxictr_qnn.comparing.request import Request, find_configs
from fuxictr_qnn.comparing.session import Comparison
from fuxictr_qnn.comparing.space import read_space
from fuxictr_qnn.tuning.data import SweepData
from tests.clicks import DATASET, write_clicks
from tests.comparing.made_pool import MadePool

BASE = {
    "dataset_id": "clicks",
    "metrics": ["AUC", "logloss"],
    "embedding_dim": 4,
    "learning_rate": 0.01,
    "batch_size": 100,
    "epochs": 3,
    "seed": 2024,
}
MODELS = {
    "LR": {"embedding_dim": None},
    "DNN": {"hidden_units": [8], "net_dropout": 0.1},
    "QNNalpha": {"num_layers": 1, "net_dropout": 0.1},
}
SPACE = {
    "shared": {"learning_rate": [0.01, 0.02], "dropout": [0.1, 0.2], "schedule": ["fuxictr", "patient"]},
    "schedules": {"fuxictr": {"reduce_lr_patience": 1}, "patient": {"reduce_lr_patience": 2}},
    "keys": {"dropout": "net_dropout"},
    "models": {"QNNalpha": {"own": {"num_row": [1, 2, 3, 4]}}, "DNN": {"own": {"hidden_units": [[8], [4]]}}},
}


def write_configs(folder: Path, models: dict[str, dict] = MODELS) -> Path:
    """A FuxiCTR config directory with an expid <Model>_clicks each."""
    folder.mkdir(parents=True, exist_ok=True)
    expids = {}
    for name, settings in models.items():
        keys = {key: value for key, value in (BASE | settings).items() if value is not None}
        expids[f"{name}_clicks"] = {"model": name} | keys
    (folder / "model_config.yaml").write_text(yaml.safe_dump(expids))
    (folder / "dataset_config.yaml").write_text(yaml.safe_dump({"clicks": DATASET}))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False))
    return folder


@pytest.fixture(scope="session")
def clicks(tmp_path_factory) -> Path:
    return write_clicks(tmp_path_factory.mktemp("clicks"))


class Watcher:
    """Notes what it is told."""

    def __init__(self):
        self.phases: list[tuple[str, int]] = []

    def begin(self, phase: str, count: int) -> None:
        self.phases.append((phase, count))

    def event(self, label, what, event) -> None:
        assert label and what


class Bench:
    """Configs, their data, and the folder of a comparison."""

    def __init__(self, root: Path, data: Path):
        self.data, self.config = data, write_configs(root / "config")
        self.folder = Folder(root / "comparisons" / "clicks")
        self.watcher = Watcher()

    def request(self, **changes) -> Request:
        given = {"trials": 2, "space": self.config / "space.yaml"} | changes
        if "expids" not in given:
            given = {"dataset": "clicks", "models": ("LR", "DNN", "QNNalpha")} | given
        return Request(config=self.config, **given)

    def prepare(self, choose_numbers=None, **changes) -> Prepared:
        request = self.request(**changes)
        request.check()
        space = read_space(request.space)
        return prepare(
            request, find_configs(request), space, self.folder, SweepData(self.data), choose_numbers
        )

    def do(self, pool: MadePool | None = None, **changes) -> tuple[Comparison, MadePool]:
        """One session."""
        pool, prepared = pool or MadePool(), self.prepare(**changes)
        with open_comparison(prepared, self.folder, SweepData(self.data), pool, self.watcher) as comparison:
            comparison.run()
        return comparison, pool

    def files(self) -> dict[str, bytes]:
        root = self.folder.path
        return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path, clicks, monkeypatch) -> Callable:
    monkeypatch.setattr("fuxictr_qnn.tuning.session.draw_axes", lambda sweep: [])
    monkeypatch.setattr("os.fsync", lambda handle: None)  # nobody pulls the plug
    return Bench(tmp_path, clicks)
