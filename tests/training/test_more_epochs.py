"""A complete run that goes on with more epochs ends as the run that was begun with them."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from fuxictr_qnn.training.more_epochs import find_shorter
from fuxictr_qnn.training.step import TrainStep
from tests.training.test_run import clicks, run, stop_at_step, tiny  # noqa: F401

LONG = {"early_stop_patience": 50}
PER_EPOCH = 15  # batches


def begun(clicks, out, epochs, **kwargs):  # noqa: F811
    return run(tiny(epochs=epochs, **LONG), clicks, out, keep_checkpoint=True, **kwargs)


def steps_of(action, monkeypatch) -> int:
    """How many training steps an action takes."""
    plain, calls = TrainStep.__call__, []

    def counted(self, batches):
        calls.append(batches)
        return plain(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(TrainStep, "__call__", counted)
        action()
    return len(calls)


def results(folder) -> tuple:
    metrics = json.loads((folder / "metrics.json").read_text())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for record in history:
        del record["seconds"]
    return {key: metrics[key] for key in ("valid", "test", "epochs", "best_epoch")}, history


@pytest.fixture(scope="module")
def straight(clicks, tmp_path_factory):  # noqa: F811
    return begun(clicks, tmp_path_factory.mktemp("straight"), 4)


@pytest.mark.parametrize("averaged", [{}, {"ema_decay": 0.9}])
def test_the_longer_run_ends_as_if_it_had_been_begun_so(clicks, tmp_path, monkeypatch, averaged):  # noqa: F811
    short, long = (tiny(epochs=epochs, **LONG, **averaged) for epochs in (2, 4))
    first = run(short, clicks, tmp_path / "a", keep_checkpoint=True)
    kept = {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()}
    ran = []
    steps = steps_of(lambda: ran.append(run(long, clicks, tmp_path / "a", resume=True)), monkeypatch)
    whole = run(long, clicks, tmp_path / "b")
    assert steps == 2 * PER_EPOCH
    assert results(ran[0].folder) == results(whole.folder)
    ours, theirs = (torch.load(result.folder / "model.pt") for result in (ran[0], whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()} == kept
    assert not (ran[0].folder / "checkpoint.pt").exists()


def test_killed_after_going_on_it_goes_on_again(clicks, tmp_path, monkeypatch, straight):  # noqa: F811
    begun(clicks, tmp_path, 2)
    stop_at_step(20, lambda: begun(clicks, tmp_path, 4, resume=True), monkeypatch)
    again = begun(clicks, tmp_path, 4, resume=True)
    assert results(again.folder) == results(straight.folder)


def test_it_reads_the_rows_as_the_shorter_run_did(clicks, tmp_path, monkeypatch, straight):  # noqa: F811
    """Also where its own folder tells of a beginning that read them otherwise and left no checkpoint."""
    streamed = tiny(epochs=4, streaming=True, **LONG)
    stop_at_step(5, lambda: run(streamed, clicks, tmp_path), monkeypatch)
    begun(clicks, tmp_path, 2)
    again = run(streamed, clicks, tmp_path, resume=True)
    assert again.metrics["buffer_bytes"] is None
    assert results(again.folder) == results(straight.folder)


def test_force_begins_anew_even_beside_a_shorter_run(clicks, tmp_path, monkeypatch):  # noqa: F811
    """As a lost worker's restart asks, which resumes what had begun."""
    begun(clicks, tmp_path, 1)
    steps = steps_of(lambda: begun(clicks, tmp_path, 2, resume=True, force=True), monkeypatch)
    assert steps == 2 * PER_EPOCH


def test_only_a_run_that_its_epochs_ended_keeps_a_checkpoint(clicks, tmp_path, straight):  # noqa: F811
    assert (straight.folder / "checkpoint.pt").exists()
    stopped = run(
        tiny(epochs=30, learning_rate=0.3, early_stop_patience=1), clicks, tmp_path, keep_checkpoint=True
    )
    assert stopped.metrics["epochs"] < 30 and not (stopped.folder / "checkpoint.pt").exists()


def test_a_run_that_stopped_by_itself_is_begun_anew_and_it_is_said(clicks, tmp_path, monkeypatch, caplog):  # noqa: F811
    experiment = tiny(epochs=30, learning_rate=0.3, early_stop_patience=1)
    first = run(experiment, clicks, tmp_path, keep_checkpoint=True)
    longer = tiny(epochs=40, learning_rate=0.3, early_stop_patience=1)
    with caplog.at_level(logging.WARNING, "fuxictr_qnn"):
        again = run(longer, clicks, tmp_path, resume=True)
    assert "stopped by itself" in caplog.text
    assert results(again.folder) == results(first.folder)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("checkpoint.pt", b"junk\n", "checkpoint.pt' cannot be read as weights"),
        ("checkpoint.pt", torch.ones(1), "checkpoint.pt' is no checkpoint of a run"),
        ("checkpoint.pt", {"model": {}}, "checkpoint.pt' is no checkpoint of a run"),
        ("model.pt", b"PAR1xxxx", "model.pt' cannot be read as weights"),
        ("model.pt", [1], "model.pt' does not hold weights by name"),
        ("model.pt", None, "or its history.jsonl or model.pt or checkpoint.pt is gone"),
        ("history.jsonl", b"{", "history.jsonl' cannot be read"),
    ],
)
def test_damaged_files_are_named(clicks, tmp_path, monkeypatch, caplog, name, content, said):  # noqa: F811
    """The run begins anew, with nothing of them in its folder."""
    file = begun(clicks, tmp_path, 1).folder / name
    if content is None:
        file.unlink()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    ran = []
    with caplog.at_level(logging.WARNING, "fuxictr_qnn"):
        steps = steps_of(lambda: ran.append(begun(clicks, tmp_path, 2, resume=True)), monkeypatch)
    assert said in caplog.text and "--resume: 2 epochs begin anew" in caplog.text
    assert steps == 2 * PER_EPOCH
    assert results(ran[0].folder) == results(begun(clicks, tmp_path / "whole", 2).folder)


def test_of_two_shorter_runs_a_damaged_one_does_not_count(clicks, tmp_path):  # noqa: F811
    one = begun(clicks, tmp_path, 1)
    (begun(clicks, tmp_path, 2).folder / "checkpoint.pt").write_bytes(b"junk\n")
    found = find_shorter(tiny(epochs=4, **LONG), 7, tmp_path, one.metrics["data_fingerprint"])
    assert found.folder == one.folder


def test_without_resume_it_begins_anew(clicks, tmp_path, monkeypatch):  # noqa: F811
    begun(clicks, tmp_path, 1)
    assert steps_of(lambda: begun(clicks, tmp_path, 2), monkeypatch) == 2 * PER_EPOCH


def test_of_several_shorter_runs_the_longest_of_same_seed_and_data_counts(clicks, tmp_path):  # noqa: F811
    fingerprint = begun(clicks, tmp_path, 1).metrics["data_fingerprint"]
    two = begun(clicks, tmp_path, 2)
    begun(clicks, tmp_path, 3, seed=8)
    run(tiny(epochs=3, learning_rate=0.02, **LONG), clicks, tmp_path, keep_checkpoint=True)
    longer = tiny(epochs=4, **LONG)
    assert find_shorter(longer, 7, tmp_path, fingerprint).folder == two.folder
    assert find_shorter(longer, 7, tmp_path, "other data") is None
    assert find_shorter(tiny(epochs=1, **LONG), 7, tmp_path, fingerprint) is None
