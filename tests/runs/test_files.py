"""Files of a run folder: their content, None where that may be, or a message that names the file."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.files import RunFiles, Unreadable


def test_an_empty_folder_holds_nothing(tmp_path):
    files = RunFiles(tmp_path)
    assert (files.metrics, files.scores, files.trial, files.failure, files.preprocessing) == (None,) * 5
    assert files.history == []
    assert not (files.is_begun or files.is_complete or files.has_weights or files.has_checkpoint)


@pytest.mark.parametrize("read", ["config", "whole_history", "whole_metrics"])
def test_what_every_complete_run_has_is_missed(read, tmp_path):
    with pytest.raises(Unreadable, match="' is missing: put back"):
        getattr(RunFiles(tmp_path), read)


def test_a_line_that_a_kill_cut_short(tmp_path):
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert RunFiles(tmp_path).history == [{"epoch": 1}]
    with pytest.raises(Unreadable, match="history.jsonl' cannot be read as JSON"):
        _ = RunFiles(tmp_path).whole_history


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"null"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("metrics.json", "metrics"),
        ("config.yaml", "config"),
        ("trial.json", "trial"),
        ("failed.json", "failure"),
        ("test_scores.parquet", "scores"),
        ("features/preprocessing.json", "preprocessing"),
    ],
)
def test_damaged_files_are_named_with_the_remedy(name, read, content, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        getattr(RunFiles(tmp_path, "ask the owner"), read)
    (problem,) = caught.value.problems
    assert problem.startswith(f"'{file}' ") and problem.endswith(": ask the owner")
    assert caught.value.brief.startswith(f"{file.name} ") and "ask" not in caught.value.brief


def test_scores_without_predictions(tmp_path):
    pl.DataFrame({"y_true": np.zeros(3)}).write_parquet(tmp_path / "test_scores.parquet")
    with pytest.raises(Unreadable, match="test_scores.parquet' cannot be read"):
        _ = RunFiles(tmp_path).scores


def test_the_error_goes_from_one_process_to_another(tmp_path):
    error = pickle.loads(pickle.dumps(Unreadable(tmp_path / "metrics.json", "is torn", "mend it")))
    assert isinstance(error, RequestError) and error.brief == "metrics.json is torn"
    assert str(error) == f"'{tmp_path / 'metrics.json'}' is torn: mend it"


def test_what_keeps_a_run_from_being_used(tmp_path):
    files = RunFiles(tmp_path)
    for name, obstacle in (
        ("config.yaml", "is no run folder: it has no config.yaml"),
        ("metrics.json", "holds an incomplete run (no metrics.json): --resume"),
        ("model.pt", "keeps no weights (model.pt)"),
    ):
        assert f"'{tmp_path}' {obstacle}" in files.obstacle
        (tmp_path / name).write_text("{}")
    assert files.obstacle is None
