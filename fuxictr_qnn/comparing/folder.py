"""The folder of a comparison.

<out>/<name>/
    comparison.yaml      the terms: models, digests of their configs, space, trials, seeds, data
    tune/<expid>/        a sweep each; no test split is read
    runs/<expid>-<hash>/seed<S>/    the final runs; failed.json where one has no result
    chosen.yaml          configs and comparator, fixed before a test split is read
    test_log.jsonl       a line for each scoring of a test split
    timings.json         seconds an epoch, measured for --plan and --budget
    logs/                what the processes printed
    results.csv, table.*, plots/, report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.files import is_writable, lock_if_free, new_folder, write_json, write_text
from fuxictr_qnn.yaml_files import read_yaml, to_yaml

_CHOSEN = {"when", "comparator", "proposed", "configs"}
_SCORING = {"expid", "config_digest", "seed"}


class Folder:
    """Reads and writes what a comparison as a whole leaves."""

    def __init__(self, path: Path):
        self.path = path
        self.terms = path / "comparison.yaml"
        self.runs = path / "runs"

    def check_writable(self) -> None:
        """RequestError unless the folder can be written, or made."""
        if not is_writable(self.path.absolute()):
            raise RequestError(f"--out: '{self.path}' cannot be written; name a folder that you own")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep other comparisons out of it.

        Raises:
            RunError: another process holds it.
        """
        with new_folder(self.path), lock_if_free(self.path / ".lock") as held:
            if not held:
                raise RunError(
                    f"another process is at the comparison in '{self.path}'; wait for it, or name another "
                    "by --name"
                )
            yield

    def sweep(self, expid: str) -> Path:
        return self.path / "tune" / expid

    def log(self, *names: object) -> Path:
        return self.path / "logs" / f"{'-'.join(map(str, names))}.txt"

    # What was chosen

    @property
    def chosen(self) -> dict[str, Any] | None:
        file = self.path / "chosen.yaml"
        if not file.exists():
            return None
        found = read_yaml(file)
        configs = found.get("configs")
        if _CHOSEN <= found.keys() and isinstance(configs, dict):
            if all(isinstance(said, dict) and "config_digest" in said for said in configs.values()):
                return found
        raise RequestError(f"{file}: not as compare writes it: put it back as it was")

    def write_chosen(self, chosen: dict[str, Any]) -> None:
        write_text(self.path / "chosen.yaml", to_yaml(chosen))

    # The test split

    @property
    def scorings(self) -> list[dict[str, Any]]:
        """Every scoring of a test split, in order."""
        file = self.path / "test_log.jsonl"
        try:
            lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
            if all(_SCORING <= line.keys() for line in lines):
                return lines
        except (ValueError, AttributeError):
            pass
        raise RequestError(f"{file}: cannot be read: it was edited by hand; put it back as it was")

    def log_scoring(self, line: dict[str, Any]) -> None:
        lines = [*self.scorings, {"when": now(), **line}]
        write_text(self.path / "test_log.jsonl", "".join(json.dumps(entry) + "\n" for entry in lines))

    # Timings

    @property
    def timings(self) -> dict[str, Any]:
        file = self.path / "timings.json"
        try:
            return json.loads(file.read_text()) if file.exists() else {}
        except ValueError:
            return {}

    def write_timings(self, timings: dict[str, Any]) -> None:
        write_json(self.path / "timings.json", timings)


def now() -> str:
    """The time as files keep it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
