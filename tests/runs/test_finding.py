"""Run folders, read back; and the sentence about each that cannot be counted on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import yaml

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.run import FailedRun
from tests.reporting.made_runs import make_run


def edit(file, change):
    """Change a JSON or YAML file as a hand would."""
    if file.suffix == ".json":
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
    else:
        content = yaml.safe_load(file.read_text())
        change(content)
        file.write_text(yaml.safe_dump(content))


@pytest.fixture
def folder(tmp_path):
    """One of two runs; the other one stays as it is."""
    make_run(tmp_path / "runs", "LR_shop", 2)
    return make_run(tmp_path / "runs", "LR_shop", 1)


def only_complaint(folder) -> str:
    """What is said of it, beside the run that is whole."""
    found = find_runs([folder.parents[1]])
    assert [run.seed for run in found.runs] == [2]
    (sentence,) = found.left_out
    assert str(folder) in sentence
    return sentence


def test_what_a_run_folder_says(folder):
    run = next(run for run in find_runs([folder.parents[1]]).runs if run.seed == 1)
    assert (run.record.expid, run.record.parameters, run.folder) == ("LR_shop", 1007, folder)
    assert run.settings["learning_rate"] == 0.001 and run.settings["num_layers"] == 1
    assert (run.seconds_per_epoch, run.seconds_to_best) == (2.0, 4.0)
    assert [line["epoch"] for line in run.history] == [1, 2, 3, 4]
    scores = run.scores()
    assert len(scores.y_true) == len(scores.y_pred) == 400 and scores.group is None


def test_what_an_epoch_took_counts_the_steps_that_were_done(tmp_path):
    make_run(tmp_path, "LR_shop", 1, metrics={"steps": 25, "steps_per_epoch": 10})
    make_run(tmp_path, "LR_shop", 2)  # of an early version: by its epochs
    assert [run.seconds_per_epoch for run in find_runs([tmp_path]).runs] == [8 / 2.5, 8 / 4]


@pytest.mark.parametrize("depth", range(4))
def test_a_run_a_config_a_root_or_a_folder_of_roots_can_be_named(folder, depth):
    named = [folder, *folder.parents][depth]
    assert {run.seed for run in find_runs([named]).runs} == ({1} if depth == 0 else {1, 2})


def test_a_run_that_is_named_twice_counts_once_and_a_copy_is_named(folder, tmp_path):
    assert len(find_runs([folder, folder.parent, tmp_path]).runs) == 2
    shutil.copytree(tmp_path / "runs", tmp_path / "z_copy")
    found = find_runs([tmp_path])
    assert len(found.runs) == 2 and len(found.left_out) == 2
    assert all("repeats the run in" in sentence and "z_copy" in sentence for sentence in found.left_out)


def test_the_same_config_on_other_data_is_another_run(folder, tmp_path):
    make_run(tmp_path / "others", "LR_shop", 1, fingerprint="0" * 16)
    found = find_runs([tmp_path])
    assert len(found.runs) == 3 and not found.left_out


class TestLeftOut:
    def test_incomplete(self, folder):
        (folder / "metrics.json").unlink()
        assert "is incomplete (no metrics.json)" in only_complaint(folder)

    @pytest.mark.parametrize("state, said", [("pruned", "was stopped early"), ("failed", "failed")])
    def test_a_trial_that_ended_for_good(self, folder, state, said):
        (folder / "metrics.json").unlink()
        (folder.with_name("seed2") / "trial.json").write_text('{"values": {}}')
        (folder / "trial.json").write_text(
            json.dumps({"values": {}, "state": state, "reason": "its AUC fell"})
        )
        sentence = only_complaint(folder)
        assert f"the trial {said}: its AUC fell" in sentence and "--resume" not in sentence

    def test_a_final_run_that_failed_for_good(self, folder):
        (folder / "metrics.json").unlink()
        (folder / "failed.json").write_text('{"reason": "the loss is not finite"}')
        sentence = only_complaint(folder)
        assert "the run failed: the loss is not finite" in sentence and "--resume" not in sentence
        expid, _, digest = folder.parent.name.partition("-")
        failed = FailedRun(expid, digest, "f" * 16, 1, "the loss is not finite")
        assert find_runs([folder.parents[1]]).failed == [failed]

    def test_a_final_run_that_failed_before_it_wrote_its_config(self, folder):
        for file in folder.iterdir():
            file.unlink()
        (folder / "failed.json").write_text('{"reason": "no memory"}')
        assert "the run failed: no memory" in only_complaint(folder)
        (failed,) = find_runs([folder.parents[1]]).failed
        assert failed.data_fingerprint is None and failed.reason == "no memory"

    @pytest.mark.parametrize("content", ["", "[]", "{}"])
    def test_a_damaged_record_of_a_failure(self, folder, content):
        (folder / "metrics.json").unlink()
        (folder / "failed.json").write_text(content)
        assert "is incomplete (no metrics.json)" in only_complaint(folder)

    def test_a_run_that_was_done_after_it_failed_is_whole(self, folder):
        (folder / "failed.json").write_text('{"reason": "no memory"}')
        found = find_runs([folder.parents[1]])
        assert len(found.runs) == 2 and not found.failed

    @pytest.mark.parametrize("content", ['{"state": ["failed"]}', '{"state": "failed"}', "[]", "{"])
    def test_a_damaged_record_of_a_trial(self, folder, content):
        (folder / "metrics.json").unlink()
        for trial in (folder, folder.with_name("seed2")):
            (trial / "trial.json").write_text(content)
        assert "is incomplete (no metrics.json)" in only_complaint(folder)

    def test_a_trial_that_was_begun(self, folder):
        (folder / "metrics.json").unlink()
        for trial in (folder, folder.with_name("seed2")):
            (trial / "trial.json").write_text('{"values": {}}')
        assert "is incomplete (no metrics.json)" in only_complaint(folder)

    @pytest.mark.parametrize("name", ["config.yaml", "history.jsonl"])
    def test_a_file_is_missing(self, folder, name):
        (folder / name).unlink()
        assert f"{name} is missing" in only_complaint(folder)

    @pytest.mark.parametrize(
        "name, content, what",
        [
            ("metrics.json", "{", "metrics.json cannot be read as JSON"),
            ("metrics.json", "[]", "metrics.json is not as a run writes it"),
            ("config.yaml", "seed: 1", "config.yaml is not as a run writes it"),
            ("config.yaml", "experiment: !!python/name:os.system", "config.yaml cannot be read"),
            ("config.yaml", "[", "config.yaml cannot be read"),
            ("config.yaml", "[]", "config.yaml is not as a run writes it"),
            (
                "config.yaml",
                "experiment: {fit: {}}",
                "(dataset, expid, features, model, model_params missing",
            ),
            ("history.jsonl", '{"epoch": 1', "history.jsonl cannot be read"),
            ("test_scores.parquet", "PAR1", "test_scores.parquet cannot be read"),
        ],
    )
    def test_a_file_is_damaged(self, folder, name, content, what):
        (folder / name).write_text(content)
        assert what in only_complaint(folder)

    def test_keys_of_metrics_json_are_missing_or_wrong(self, folder):
        edit(folder / "metrics.json", lambda m: (m.pop("seconds"), m.update(epochs="many")))
        assert "(epochs, seconds missing or of another kind)" in only_complaint(folder)

    def test_a_better_auc_by_hand(self, folder):
        edit(folder / "metrics.json", lambda m: m["test"].update(AUC=0.999))
        assert "edited by hand: test AUC is 0.999000 in metrics.json" in only_complaint(folder)

    def test_better_scores_by_hand(self, folder):
        table = pl.read_parquet(folder / "test_scores.parquet")
        table = table.with_columns(y_pred=0.5 * pl.col("y_pred") + 0.5 * pl.col("y_true"))
        table.write_parquet(folder / "test_scores.parquet")
        sentence = only_complaint(folder)
        assert "test AUC" in sentence and "test logloss" in sentence

    @pytest.mark.parametrize(
        "key, value",
        [("expid", "FM_shop"), ("model", "FM"), ("dataset_id", "mall"), ("data_fingerprint", "0")],
    )
    def test_config_and_metrics_disagree(self, folder, key, value):
        edit(folder / "metrics.json", lambda m: m.update({key: value}))
        assert f"{key} is {value} in metrics.json" in only_complaint(folder)

    @pytest.mark.parametrize(
        "part, key, value",
        [
            ("fit", "learning_rate", 0.01),
            ("fit", "epochs", 7),
            ("model_params", "num_layers", 2),
            ("features", "embedding_dim", 8),
            ("dataset", "min_categr_count", 2),
        ],
    )
    def test_a_setting_by_hand(self, folder, part, key, value):
        """Only the hash tells: the setting stands in no other file."""
        edit(folder / "config.yaml", lambda c: c["experiment"][part].update({key: value}))
        sentence = only_complaint(folder)
        made_with = folder.parent.name.removeprefix("LR_shop-")
        assert f", the run {made_with}; either it was edited by hand" in sentence

    def test_what_decides_nothing_may_be_edited(self, folder):
        edit(folder / "config.yaml", lambda c: c["experiment"]["dataset"].update(train_data="elsewhere.csv"))
        edit(folder / "config.yaml", lambda c: c["experiment"]["fit"].update(streaming=True))
        assert len(find_runs([folder.parents[1]]).runs) == 2

    @pytest.mark.parametrize(
        "part, key, value, named",
        [("fit", "epochs", "many", "fit.epochs"), ("dataset", "options", {}, "dataset.options")],
    )
    def test_settings_that_this_version_does_not_know(self, folder, part, key, value, named):
        edit(folder / "config.yaml", lambda c: c["experiment"][part].update({key: value}))
        assert f"({named} missing, unknown or of another kind)" in only_complaint(folder)

    def test_a_seed_that_was_renamed(self, folder):
        other = folder.with_name("seed9")
        folder.rename(other)
        assert "seed is 1 in metrics.json" in only_complaint(other)

    def test_a_folder_of_another_name_may_be_named_anything(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "deployed" / "seed7")
        (run,) = find_runs([tmp_path / "deployed"]).runs
        assert run.seed == 1

    def test_a_config_of_another_hash(self, folder):
        edit(folder / "metrics.json", lambda m: m.update(config_digest="0badc0de"))
        assert "config_digest is 0badc0de" in only_complaint(folder)


def test_a_run_without_test_data_or_scores_is_whole(tmp_path):
    folder = make_run(tmp_path, "LR_shop", 1, metrics={"test": {}})
    (folder / "test_scores.parquet").unlink()
    (run,) = find_runs([tmp_path]).runs
    assert run.record.test == {} and run.scores() is None


def test_groups_come_with_the_scores(tmp_path):
    make_run(tmp_path, "LR_shop", 1, groups=True)
    (run,) = find_runs([tmp_path]).runs
    assert len(np.unique(run.scores().group)) == 40


def test_a_link_that_leads_back_is_not_followed_for_ever(folder):
    for name in ("round", "again"):
        (folder.parents[1] / name).symlink_to(folder.parents[1], target_is_directory=True)
    assert len(find_runs([folder.parents[1]]).runs) == 2


class TestTrials:
    """Runs of a sweep: their config can be that of the final runs, the seed is another."""

    @pytest.fixture
    def comparison(self, folder, tmp_path):
        """Two final runs, a trial with their settings, one with others, and one that failed."""
        trials = tmp_path / "a_tune"  # before `runs` in the order of names
        make_run(trials, "LR_shop", 2024)
        make_run(trials, "LR_shop", 2024, params={"num_layers": 2})
        (make_run(trials, "LR_shop", 2024, params={"num_layers": 3}) / "metrics.json").unlink()
        for trial in trials.glob("*/seed2024"):
            (trial / "trial.json").write_text('{"values": {}, "state": "failed", "reason": "no memory"}')
        return tmp_path

    def test_beside_final_runs_they_are_counted_and_left_out(self, comparison):
        found = find_runs([comparison])
        assert [run.seed for run in found.runs] == [1, 2]
        (sentence,) = found.left_out
        assert sentence.startswith("3 trials of sweeps, there to choose settings and no part of the results")

    def test_by_themselves_they_are_reported(self, comparison):
        found = find_runs([comparison / "a_tune"])
        assert [run.seed for run in found.runs] == [2024, 2024]
        assert len(found.left_out) == 1 and "the trial failed: no memory" in found.left_out[0]

    def test_a_run_that_a_trial_repeats_counts(self, folder, tmp_path):
        shutil.copytree(tmp_path / "runs", tmp_path / "a_tune")
        for trial in tmp_path.glob("a_tune/*/*"):
            (trial / "trial.json").write_text('{"values": {}}')
        found = find_runs([tmp_path])
        assert {run.folder for run in found.runs} == set(folder.parent.iterdir())


def test_requests_that_find_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError) as caught:
        find_runs([tmp_path / "nowhere", tmp_path / "empty", tmp_path / "neither"])
    assert len(caught.value.problems) == 2 and "'" + str(tmp_path / "nowhere") in caught.value.problems[0]
    with pytest.raises(RequestError, match="no complete run in"):
        find_runs([tmp_path / "empty"])


def test_where_nothing_is_complete_every_folder_is_named(tmp_path):
    for seed in (1, 2):
        (make_run(tmp_path, "LR_shop", seed) / "metrics.json").unlink()
    with pytest.raises(RequestError) as caught:
        find_runs([tmp_path])
    assert len(caught.value.problems) == 3
