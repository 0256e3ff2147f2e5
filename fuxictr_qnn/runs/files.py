"""The files of a run folder, read with suspicion: whoever reads one gets its content or a sentence.

runs/<expid>-<digest>/seed<S>/
    config.yaml          everything resolved; `fuxictr run --config` replays it
    history.jsonl        a line an evaluation
    model.pt             the best weights
    checkpoint.pt        what --resume needs; gone when the run is complete, unless more epochs may follow
    warm_start.json      of a run that starts from another one: what was carried over
    features/            feature map, vocabularies, preprocessing state and item table of the build
    test_scores.parquet  y_pred and y_true of the test rows, in file order
    metrics.json         written last: a run that has it is complete
    run.log
    trial.json           of a trial of a sweep: the values of the axes; how it ended where it did not end well
    failed.json          of a final run of a comparison that has no result, and will have none
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.scores import Scores
from fuxictr_qnn.yaml_files import parse_yaml

REMEDY = "put back the file of this run"


class Unreadable(RequestError):
    """A file of a run folder is not as a run writes it.

    Args:
        file: which one.
        what: the end of a sentence that begins with its name.
        remedy: what to do about it.
    """

    def __init__(self, file: Path, what: str, remedy: str = REMEDY):
        self.file, self.what, self.remedy = file, what, remedy
        super().__init__(f"'{file}' {what}: {remedy}")

    def __reduce__(self) -> tuple[type, tuple[Path, str, str]]:
        return type(self), (self.file, self.what, self.remedy)

    @property
    def brief(self) -> str:
        """For a message that has named the folder."""
        return f"{self.file.name} {self.what}"


class RunFiles:
    """Reads the files of one run; every property raises Unreadable where a file is damaged.

    Args:
        path: the run folder.
        remedy: the end of those messages.
    """

    def __init__(self, path: Path, remedy: str = REMEDY):
        self.path, self.remedy = path, remedy

    @property
    def is_begun(self) -> bool:
        """Whether a run wrote its config here."""
        return (self.path / "config.yaml").is_file()

    @property
    def is_complete(self) -> bool:
        return (self.path / "metrics.json").is_file()

    @property
    def has_failed(self) -> bool:
        return (self.path / "failed.json").is_file()

    @property
    def has_weights(self) -> bool:
        return (self.path / "model.pt").is_file()

    @property
    def has_checkpoint(self) -> bool:
        return (self.path / "checkpoint.pt").is_file()

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be made of a run here, with the remedy; None where it is complete with weights."""
        if not self.is_begun:
            return f"'{self.path}' is no run folder: it has no config.yaml"
        if not self.is_complete:
            return (
                f"'{self.path}' holds an incomplete run (no metrics.json): --resume on the command that "
                "began it ends it"
            )
        if not self.has_weights:
            return (
                f"'{self.path}' keeps no weights (model.pt); of the trials of a sweep only the best keep "
                f"theirs: train it by `fuxictr run --config {self.path / 'config.yaml'} --force`"
            )
        return None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """The contents of metrics.json; None while the run is not complete."""
        return self._json("metrics.json")

    @property
    def whole_metrics(self) -> dict[str, Any]:
        """The contents of metrics.json, of a run that is known to be complete."""
        if (found := self.metrics) is None:
            raise self._unreadable(self.path / "metrics.json", "is missing")
        return found

    @property
    def config(self) -> dict[str, Any]:
        """The contents of config.yaml, which every run has that was begun."""
        file = self.path / "config.yaml"
        text = self._text(file)
        try:
            return self._mapping(file, parse_yaml(text, file.name))
        except Unreadable:
            raise
        except RequestError as error:
            raise self._unreadable(file, f"cannot be read ({error})") from None

    @property
    def history(self) -> list[dict[str, Any]]:
        """The evaluations so far; a last line cut short by a kill is left out."""
        file = self.path / "history.jsonl"
        return self._records(file, self._text(file).split("\n")[:-1]) if file.exists() else []

    @property
    def whole_history(self) -> list[dict[str, Any]]:
        """The evaluations of a complete run, none of them cut short."""
        file = self.path / "history.jsonl"
        return self._records(file, self._text(file).splitlines())

    @property
    def scores(self) -> Scores | None:
        """Of the test rows; None where none were kept."""
        file = self.path / "test_scores.parquet"
        if not file.exists():
            return None
        try:
            table = pl.read_parquet(file)
            columns = {name: table[name].to_numpy() for name in table.columns}
            return Scores(columns["y_pred"], columns["y_true"], columns.get("group"))
        except (OSError, pl.exceptions.PolarsError, KeyError) as error:
            raise self._unreadable(file, f"cannot be read ({type(error).__name__})") from None

    @property
    def trial(self) -> dict[str, Any] | None:
        """The contents of trial.json; None where the run is no trial of a sweep."""
        return self._json("trial.json")

    @property
    def failure(self) -> str | None:
        """Why a final run of a comparison has no result, and will have none."""
        said = self._json("failed.json")
        if said is None:
            return None
        if "reason" not in said:
            raise self._unreadable(self.path / "failed.json", "gives no reason")
        return str(said["reason"])

    @property
    def preprocessing(self) -> dict[str, Any] | None:
        """The state of the build's preprocessing; None of data that came encoded."""
        return self._json("features/preprocessing.json")

    def _json(self, name: str) -> dict[str, Any] | None:
        """The mapping in a JSON file; None where there is none."""
        file = self.path / name
        if not file.exists():
            return None
        try:
            return self._mapping(file, json.loads(self._text(file)))
        except ValueError as error:
            raise self._unreadable(file, f"cannot be read as JSON ({error})") from None

    def _records(self, file: Path, lines: list[str]) -> list[dict[str, Any]]:
        try:
            return [self._mapping(file, json.loads(line)) for line in lines]
        except ValueError as error:
            raise self._unreadable(file, f"cannot be read as JSON ({error})") from None

    def _mapping(self, file: Path, content: Any) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise self._unreadable(file, "is not as a run writes it (no mapping)")
        return content

    def _text(self, file: Path) -> str:
        try:
            return file.read_text()
        except FileNotFoundError:
            raise self._unreadable(file, "is missing") from None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(file, f"cannot be read ({type(error).__name__})") from None

    def _unreadable(self, file: Path, what: str) -> Unreadable:
        return Unreadable(file, what, self.remedy)
