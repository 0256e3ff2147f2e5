"""What the tables of this folder read from the run folders that `fuxictr run` writes."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Run:
    """A complete run: its folder, metrics.json, the model's settings and the evaluations."""

    folder: Path
    metrics: dict[str, Any]
    params: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def expid(self) -> str:
        return self.metrics["expid"]

    @property
    def seed(self) -> int:
        return self.metrics["seed"]


def load_runs(root: Path, pattern: str = "*") -> list[Run]:
    """All complete runs below `root` whose expid matches, by expid and seed."""
    runs = [_load(file.parent) for file in root.glob(f"{pattern}-*/seed*/metrics.json")]
    return sorted(runs, key=lambda run: (run.expid, str(run.folder.parent), run.seed))


def _load(folder: Path) -> Run:
    settings = yaml.safe_load((folder / "config.yaml").read_text())["experiment"]
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return Run(folder, json.loads((folder / "metrics.json").read_text()), settings["model_params"], history)


def require_one_each(runs: list[Run], what: str) -> None:
    """A table averages runs of one setting with different seeds, nothing else.

    Raises:
        SystemExit: two runs have the same seed, or their settings differ.
    """
    if len({run.folder.parent for run in runs}) > 1 or len({run.seed for run in runs}) < len(runs):
        folders = "\n  ".join(str(run.folder) for run in runs)
        raise SystemExit(
            f"{what}: these runs are not one setting with different seeds; keep one:\n  {folders}"
        )


def spread(values: list[float], digits: int) -> str:
    """Mean ± sample standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
