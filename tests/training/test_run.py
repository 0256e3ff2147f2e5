"""A whole run: the folder it leaves, resuming after a kill, and what is refused before it starts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from fuxictr_qnn.data import Places
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import CutShort, RequestError, RunError
from fuxictr_qnn.files import lock_if_free
from fuxictr_qnn.training import run_seed
from fuxictr_qnn.training.experiment import Experiment, FeatureUse
from fuxictr_qnn.training.fit import Hooks
from fuxictr_qnn.training.run_folder import RunFolder
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.step import TrainStep

# Runs the experiment of a config.yaml; `pause` makes each step slow enough to be killed within.
RUN = """
import sys, time, yaml
from pathlib import Path
from fuxictr_qnn.data import Places
from fuxictr_qnn.training import run_seed
from fuxictr_qnn.training import step
from fuxictr_qnn.training.experiment import Experiment

config, out, data, pause = sys.argv[1:]
plain = step.TrainStep.__call__
def slow(self, batches):
    time.sleep(float(pause))
    return plain(self, batches)
step.TrainStep.__call__ = slow
saved = yaml.safe_load(Path(config).read_text())
experiment = Experiment.model_validate(saved["experiment"])
run_seed(experiment, saved["seed"], places=Places(Path(data)), out=Path(out), gpu=-1, resume=True)
"""


@pytest.fixture(scope="session")
def clicks(tmp_path_factory) -> Path:
    """A data root with a small dataset: three features, one of them a sequence."""
    root = tmp_path_factory.mktemp("clicks")
    rng = np.random.default_rng(0)
    for split, rows in (("train", 1501), ("valid", 400), ("test", 300)):
        user, item = rng.integers(0, 40, rows), rng.integers(0, 30, rows)
        tags = ["^".join(map(str, rng.integers(0, 9, rng.integers(1, 4)))) for _ in range(rows)]
        p = 1 / (1 + np.exp(-(np.sin(user) + np.cos(item) * np.sin(user * 2))))
        frame = {"click": (rng.uniform(size=rows) < p).astype(int), "user": user, "item": item, "tags": tags}
        (root / "tiny").mkdir(exist_ok=True)
        pl.DataFrame(frame).write_csv(root / "tiny" / f"{split}.csv")
    return root


def tiny(**fit) -> Experiment:
    columns = [{"name": "user"}, {"name": "item"}, {"name": "tags", "type": "sequence", "max_len": 3}]
    return Experiment(
        expid="QNNalpha_tiny",
        model="QNNalpha",
        model_params={"embedding_dim": 4, "num_layers": 1, "batch_norm": True, "net_dropout": 0.2},
        features=FeatureUse(embedding_dim=4),
        fit=FitSettings(**({"batch_size": 100, "epochs": 3, "learning_rate": 0.01} | fit)),
        dataset=DatasetSpec(
            dataset_id="tiny",
            train_data="tiny/train.csv",
            valid_data="tiny/valid.csv",
            test_data="tiny/test.csv",
            feature_cols=columns,
            label_col=[{"name": "click"}],
        ),
    )


def run(experiment, clicks, out, seed=7, **kwargs):
    return run_seed(experiment, seed, places=Places(clicks), out=out, gpu=-1, **kwargs)


def copy_of(clicks, root) -> Path:
    """A data root of one's own, to change."""
    shutil.copytree(clicks / "tiny", root / "tiny", ignore=shutil.ignore_patterns("built-*", ".*"))
    return root


def stop_at_step(step, action, monkeypatch):
    """Do `action`, interrupted before the given training step."""
    plain, calls = TrainStep.__call__, []

    def interrupted(self, batches):
        calls.append(batches)
        if len(calls) == step:
            raise KeyboardInterrupt
        return plain(self, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainStep, "__call__", interrupted)
        action()


@pytest.fixture(scope="session")
def finished(clicks, tmp_path_factory):
    """One complete run that several tests look at."""
    return run(tiny(), clicks, tmp_path_factory.mktemp("finished"))


def test_the_folder_holds_what_the_design_promises(finished):
    names = {path.name for path in finished.folder.iterdir()} - {".lock"}
    assert names == {
        "config.yaml",
        "metrics.json",
        "history.jsonl",
        "model.pt",
        "features",
        "test_scores.parquet",
        "run.log",
    }
    assert {path.name for path in (finished.folder / "features").iterdir()} >= {
        "feature_map.json",
        "feature_vocab.json",
    }
    assert finished.folder.parent.name == f"QNNalpha_tiny-{tiny().digest}" and finished.folder.name == "seed7"


def test_metrics_json(finished):
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics == finished.metrics
    assert metrics["expid"] == "QNNalpha_tiny" and metrics["seed"] == 7 and metrics["dataset_id"] == "tiny"
    assert metrics["epochs"] == 3 and 1 <= metrics["best_epoch"] <= 3
    assert set(metrics["seconds"]) == {"build", "train", "evaluate"} and metrics["rows_per_second"] > 0
    assert metrics["versions"]["torch"] == torch.__version__
    width = 3 * 4
    assert metrics["parameters_without_embeddings"] == 2 * width * width + 2 * width + 4 * width + width + 1
    tables = (40 + 2 + 30 + 2 + 9 + 2) * 4
    assert metrics["parameters"] == metrics["parameters_without_embeddings"] + tables


def test_metrics_json_tells_the_steps_of_a_run_that_ends_inside_an_epoch(finished, clicks, tmp_path):
    """What an epoch took cannot be told from `epochs`, which counts the one that was begun."""
    stands_still = tiny(eval_steps=4, learning_rate=1e-30, early_stop_patience=2, reduce_lr_on_plateau=False)
    stands_still = stands_still.model_copy(
        update={"model_params": stands_still.model_params | {"batch_norm": False}}
    )
    metrics = run(stands_still, clicks, tmp_path).metrics
    assert (metrics["epochs"], metrics["steps"], metrics["steps_per_epoch"]) == (1, 12, 15)
    assert (finished.metrics["steps"], finished.metrics["steps_per_epoch"]) == (45, 15)


def test_metrics_follow_from_the_kept_scores(finished, clicks):
    scores = pl.read_parquet(finished.folder / "test_scores.parquet")
    labels = pl.read_csv(clicks / "tiny" / "test.csv")["click"]
    assert scores["y_true"].to_list() == labels.to_list()  # file order
    assert finished.metrics["test"]["AUC"] == pytest.approx(
        roc_auc_score(labels, scores["y_pred"]), abs=1e-12
    )


def test_history_has_a_line_an_evaluation(finished):
    lines = [json.loads(line) for line in (finished.folder / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [15, 30, 45]  # 1501 rows: the single last row joins batch 15
    best = max(lines, key=lambda line: line["AUC"])
    assert best["AUC"] == pytest.approx(finished.metrics["valid"]["AUC"], abs=1e-9) and best["best"]


def test_config_yaml_replays_the_run(finished, clicks, tmp_path):
    saved = yaml.safe_load((finished.folder / "config.yaml").read_text())
    again = run(Experiment.model_validate(saved["experiment"]), clicks, tmp_path, seed=saved["seed"])
    for split in ("valid", "test"):
        assert again.metrics[split] == finished.metrics[split]


def test_another_seed_gives_another_result(finished, clicks, tmp_path):
    assert run(tiny(), clicks, tmp_path, seed=8).metrics["valid"] != finished.metrics["valid"]


def test_a_complete_run_is_not_run_again_unless_forced(finished, clicks):
    out = finished.folder.parents[1]
    before = (finished.folder / "metrics.json").stat().st_mtime_ns
    again = run(tiny(), clicks, out)
    assert again.reused and again.metrics == finished.metrics
    assert (finished.folder / "metrics.json").stat().st_mtime_ns == before
    forced = run(tiny(), clicks, out, force=True)
    assert not forced.reused and forced.metrics["test"] == finished.metrics["test"]


def test_a_complete_run_on_other_data_is_not_taken_for_this_one(clicks, tmp_path):
    root = copy_of(clicks, tmp_path / "data")
    run(tiny(epochs=1), root, tmp_path / "out")
    with open(root / "tiny" / "train.csv", "a") as file:
        file.write("1,3,4,5^6\n")
    with pytest.raises(RequestError, match="holds a run on other data.*--force"):
        run(tiny(epochs=1), root, tmp_path / "out")
    assert run(tiny(epochs=1), root, tmp_path / "out", force=True).metrics["epochs"] == 1


def test_an_interrupted_run_does_not_go_on_with_other_data(clicks, tmp_path, monkeypatch):
    root = copy_of(clicks, tmp_path / "data")
    stop_at_step(16, lambda: run(tiny(), root, tmp_path / "out"), monkeypatch)
    with open(root / "tiny" / "valid.csv", "a") as file:
        file.write("1,3,4,5^6\n")
    with pytest.raises(RequestError, match="holds a run on other data.*--force"):
        run(tiny(), root, tmp_path / "out", resume=True)


def test_the_digest_names_what_decides_a_result_and_nothing_else():
    assert tiny().digest == tiny().model_copy(update={"expid": "other"}).digest
    assert tiny().digest != tiny(learning_rate=0.02).digest
    moved = tiny().dataset.model_copy(update={"train_data": "/elsewhere/train.csv", "source": "x.yaml"})
    assert tiny().digest == tiny().model_copy(update={"dataset": moved}).digest


def same_end(resumed, straight, folders):
    """Metrics and history (but for the clock) are those of the uninterrupted run."""
    for key in ("valid", "test", "epochs", "best_epoch"):
        assert resumed.metrics[key] == straight.metrics[key]
    first, second = ([{k: v for k, v in r.items() if k != "seconds"} for r in f.history] for f in folders)
    assert first == second


@pytest.mark.parametrize("step", [1, 15, 22, 46])  # before the first checkpoint, at one, between, after more
@pytest.mark.parametrize("extra", [{}, {"average_last": 2}])
def test_a_run_stopped_at_any_step_resumes_to_the_same_end(step, extra, clicks, tmp_path, monkeypatch):
    experiment = tiny(epochs=4, **extra)
    straight = run(experiment, clicks, tmp_path / "straight")
    stop_at_step(step, lambda: run(experiment, clicks, tmp_path / "stopped"), monkeypatch)
    with pytest.raises(RequestError, match="incomplete run: add --resume to go on or --force"):
        run(experiment, clicks, tmp_path / "stopped")
    resumed = run(experiment, clicks, tmp_path / "stopped", resume=True)
    same_end(
        resumed, straight, [RunFolder(tmp_path / name, experiment, 7) for name in ("stopped", "straight")]
    )


@pytest.mark.parametrize(
    ("moment", "call"),
    [(name, call) for name in ("save_weights", "append_history", "save_checkpoint") for call in (1, 2)]
    + [("write_scores", 1), ("complete", 1)],
)
def test_a_run_stopped_between_any_two_files_resumes_to_the_same_end(
    moment, call, finished, clicks, tmp_path, monkeypatch
):
    """Stopped just before one of the files of an evaluation, or of the end, is written."""
    plain, calls = getattr(RunFolder, moment), []

    def stopped(self, *args):
        calls.append(args)
        if len(calls) == call:
            raise KeyboardInterrupt
        return plain(self, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, moment, stopped)
        run(tiny(), clicks, tmp_path)
    resumed = run(tiny(), clicks, tmp_path, resume=True)
    same_end(
        resumed, finished, [RunFolder(tmp_path, tiny(), 7), RunFolder(finished.folder.parents[1], tiny(), 7)]
    )


def test_killed_again_and_again_a_run_ends_with_the_same_metrics(clicks, tmp_path):
    """kill -9 of the process, twice, evaluations within epochs; then it finishes as if nothing had been."""
    experiment = tiny(epochs=4, ema_decay=0.9, eval_steps=4)
    straight = run(experiment, clicks, tmp_path / "straight")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"experiment": experiment.model_dump(mode="json"), "seed": 7}))
    folder = RunFolder(tmp_path / "killed", experiment, 7)
    command = [sys.executable, "-c", RUN, str(config), str(tmp_path / "killed"), str(clicks), "0.05"]
    reached = 0
    for more in (1, 2):  # evaluations to wait for before the kill comes
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(folder.history) < reached + more and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert folder.is_started, "the run was not killed in the middle"
        reached = len(folder.history)
    resumed = run(experiment, clicks, tmp_path / "killed", resume=True)
    same_end(resumed, straight, [folder, RunFolder(tmp_path / "straight", experiment, 7)])
    assert not (folder.path / "checkpoint.pt").exists()


def test_two_processes_do_not_share_a_folder(clicks, tmp_path):
    folder = RunFolder(tmp_path, tiny(), 7)
    folder.path.mkdir(parents=True)
    with lock_if_free(folder.path / ".lock"), pytest.raises(RunError, match="another process is writing"):
        run(tiny(), clicks, tmp_path)


def test_a_run_that_another_process_finished_meanwhile_is_kept(clicks, tmp_path, monkeypatch):
    """Both looked before either began; the second gets the lock when the first is done."""
    real = RunFolder.locked

    def after_the_other(self):
        monkeypatch.setattr(RunFolder, "locked", real)
        run(tiny(epochs=1), clicks, tmp_path)
        return real(self)

    monkeypatch.setattr(RunFolder, "locked", after_the_other)
    assert run(tiny(epochs=1), clicks, tmp_path).reused


def one_class(clicks, root, split) -> Path:
    root = copy_of(clicks, root)
    file = root / "tiny" / f"{split}.csv"
    pl.read_csv(file).with_columns(click=0).write_csv(file)
    return root


def test_one_class_in_validation_is_refused_before_training(clicks, tmp_path):
    root = one_class(clicks, tmp_path / "data", "valid")
    with pytest.raises(RequestError, match="valid_data: all its labels are 0, so AUC is not defined"):
        run(tiny(), root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    by_logloss = {"metrics": ["logloss"], "monitor": "logloss", "monitor_mode": "min", "epochs": 1}
    assert run(tiny(**by_logloss), root, tmp_path / "out").metrics["valid"]["logloss"] > 0


def test_one_class_in_test_leaves_auc_out(clicks, tmp_path):
    result = run(tiny(epochs=1), one_class(clicks, tmp_path / "data", "test"), tmp_path / "out")
    assert list(result.metrics["test"]) == ["logloss"] and "AUC" in result.metrics["valid"]
    assert "AUC is not defined on the test split" in (result.folder / "run.log").read_text()


def test_a_metric_that_cannot_be_imported_is_refused_before_training(clicks, tmp_path):
    with pytest.raises(RequestError, match="nothere:f cannot be imported"):
        run(tiny(metrics=["AUC", "nothere:f"]), clicks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_checkpoints_that_hold_code_are_refused(clicks, tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("never",))

    folder = RunFolder(tmp_path, tiny(), 7)
    folder.path.mkdir(parents=True)
    fingerprint = run(tiny(epochs=1), clicks, tmp_path / "other").metrics["data_fingerprint"]
    folder.write_config(tiny(), 7, fingerprint)
    torch.save({"model": Evil()}, folder.path / "checkpoint.pt")
    with pytest.raises(RequestError, match="checkpoint.pt.*cannot be read.*--force"):
        run(tiny(), clicks, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("metrics.json", "{", "metrics"),
        ("metrics.json", "[]", "metrics"),
        ("config.yaml", "", "data_fingerprint"),
        ("config.yaml", "a: [", "buffer_bytes"),
        ("history.jsonl", "{\n{}\n", "history"),
    ],
)
def test_records_that_are_damaged_are_named(name, content, read, tmp_path):
    folder = RunFolder(tmp_path, tiny(), 7)
    folder.path.mkdir(parents=True)
    (folder.path / name).write_text(content)
    with pytest.raises(RequestError, match=f"{name}' .*: put back .*; --force starts anew"):
        getattr(folder, read)


def test_a_damaged_record_of_a_complete_run_is_refused_before_anything_is_read(tmp_path):
    folder = RunFolder(tmp_path, tiny(), 7)
    folder.path.mkdir(parents=True)
    (folder.path / "config.yaml").write_text("seed: 7\n")
    (folder.path / "metrics.json").write_text("{")
    for resume in (False, True):
        with pytest.raises(RequestError, match="metrics.json' cannot be read"):
            folder.check_state(resume=resume, force=False)
    folder.check_state(resume=False, force=True)


def test_a_fingerprint_that_looks_like_a_number_is_kept(tmp_path):
    folder = RunFolder(tmp_path, tiny(), 7)
    folder.path.mkdir(parents=True)
    folder.write_config(tiny(), 7, "1234567890123e45")
    assert folder.data_fingerprint == "1234567890123e45"


def test_force_does_not_ask_for_records_that_are_damaged(clicks, tmp_path):
    folder = RunFolder(tmp_path, tiny(epochs=1), 7)
    folder.path.mkdir(parents=True)
    for name in ("metrics.json", "config.yaml", "history.jsonl"):
        (folder.path / name).write_text("{\n")
    assert run(tiny(epochs=1), clicks, tmp_path, force=True).metrics == folder.metrics


def test_what_a_model_refuses_comes_before_anything_is_written(clicks, tmp_path):
    bad = tiny().model_copy(update={"model_params": {"embedding_dim": 4, "num_heads": 3}})
    with pytest.raises(RequestError, match="QNNalpha cannot be built: num_heads=3 does not divide"):
        run(bad, clicks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unwritable_place_is_refused_before_anything_is_computed(clicks, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(RequestError, match="cannot be written"):
        run(tiny(), clicks, locked)


@pytest.mark.parametrize(
    ("error", "cut_short"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (PermissionError(errno.EACCES, "Permission denied", "{folder}/model.pt"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "/somebodys/table.npy"), False),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), False),
    ],
)
def test_only_what_the_disk_refuses_can_go_on(clicks, tmp_path, error, cut_short):
    """A model that looks for a file of its own will not find it the next time either."""
    folder = RunFolder(tmp_path, tiny(), 7).path
    if error.filename:
        error.filename = error.filename.format(folder=folder)

    def fail(record):
        raise error

    with pytest.raises(CutShort if cut_short else type(error)):
        run(tiny(), clicks, tmp_path, hooks=Hooks(on_evaluation=fail))


def test_training_needs_validation_data(clicks, tmp_path):
    dataset = tiny().dataset.model_copy(update={"valid_data": None})
    with pytest.raises(RequestError, match="valid_data must be set"):
        run(tiny().model_copy(update={"dataset": dataset}), clicks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_test_data_reports_validation_only(clicks, tmp_path):
    dataset = tiny().dataset.model_copy(update={"test_data": None})
    result = run(tiny(epochs=1).model_copy(update={"dataset": dataset}), clicks, tmp_path)
    assert "test" not in result.metrics and not (result.folder / "test_scores.parquet").exists()


class TestTestSplitLater:
    """A complete run whose test split was left unread: its weights score it when that is asked for."""

    def test_gives_what_scoring_at_once_gives(self, finished, clicks, tmp_path):
        unread = run(tiny(), clicks, tmp_path, test=False)
        weights = (unread.folder / "model.pt").read_bytes()
        assert "test" not in unread.metrics and not (unread.folder / "test_scores.parquet").exists()
        scored = run(tiny(), clicks, tmp_path)
        assert not scored.reused and (unread.folder / "model.pt").read_bytes() == weights
        assert scored.metrics["test"] == finished.metrics["test"]
        assert list(scored.metrics) == list(finished.metrics)
        kept = [pl.read_parquet(result.folder / "test_scores.parquet") for result in (scored, finished)]
        assert kept[0].equals(kept[1])
        same = unread.metrics.keys() - {"seconds"}
        assert {key: scored.metrics[key] for key in same} == {key: unread.metrics[key] for key in same}
        assert run(tiny(), clicks, tmp_path).reused

    def test_stopped_between_scores_and_metrics_is_not_scored_again(
        self, finished, clicks, tmp_path, monkeypatch
    ):
        run(tiny(), clicks, tmp_path, test=False)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(RunFolder, "complete", lambda *args: stop())
            run(tiny(), clicks, tmp_path)
        assert "test" not in RunFolder(tmp_path, tiny(), 7).metrics
        monkeypatch.setattr("fuxictr_qnn.training.phases.score", lambda *args: stop())
        assert run(tiny(), clicks, tmp_path).metrics["test"] == finished.metrics["test"]

    def test_another_models_weights_are_refused(self, clicks, tmp_path):
        unread = run(tiny(epochs=1), clicks, tmp_path, test=False)
        weights = torch.load(unread.folder / "model.pt", weights_only=True)
        first = next(iter(weights))
        torch.save({"other": weights.pop(first), **weights}, unread.folder / "model.pt")
        with pytest.raises(RequestError, match=f"model.pt' does not fit .*{first} is missing; other is not"):
            run(tiny(epochs=1), clicks, tmp_path)
        assert "test" not in RunFolder(tmp_path, tiny(epochs=1), 7).metrics

    def test_needs_the_weights(self, clicks, tmp_path):
        unread = run(tiny(epochs=1), clicks, tmp_path, test=False)
        (unread.folder / "model.pt").unlink()
        with pytest.raises(RequestError, match="left the test split unread and kept no weights: add --force"):
            run(tiny(epochs=1), clicks, tmp_path)
        assert run(tiny(epochs=1), clicks, tmp_path, test=False).reused
        assert "test" in run(tiny(epochs=1), clicks, tmp_path, force=True).metrics


def stop():
    raise KeyboardInterrupt
