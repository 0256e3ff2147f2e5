"""The phases of a comparison, from what lies in its folder. Without processes and training."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
import yaml

from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.measuring import LATENCY
from fuxictr_qnn.comparing.opening import open_comparison
from fuxictr_qnn.comparing.results import report_on
from fuxictr_qnn.comparing.session import has_read_test
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.reporting import report
from fuxictr_qnn.tuning.data import SweepData
from tests.comparing.made_pool import Killed, MadePool

MODELS = ("LR", "DNN", "QNNalpha")
EXPIDS = [f"{model}_clicks" for model in MODELS]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes seconds."""
    monkeypatch.setattr(report, "has_matplotlib", lambda: False)


def report_of(comparison):
    """The section, what is left out, and the notes as one text."""
    section, left_out, _ = report_on(comparison)
    return section, left_out, "\n".join(section.table.notes)


def counts(pool: MadePool) -> dict[str, int]:
    return Counter(what for what, *_ in pool.log)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"valid": {"AUC": 0.7}, "calibration": {"test": {}}}', False),
        ('{"valid":{"AUC":0.7},"test":{"AUC":0.6}}', True),  # as another program may write it
    ],
)
def test_metrics_tell_whether_test_was_read(tmp_path, text, expected):
    file = tmp_path / "runs" / "LR_clicks-12345678" / "seed1" / "metrics.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert has_read_test(Folder(tmp_path)) is expected
    file.write_text(text[:-1])
    with pytest.raises(RequestError, match="metrics.json' cannot be read as JSON.*put it back"):
        has_read_test(Folder(tmp_path))


class TestOneSession:
    def test_everything_once_and_in_order(self, bench):
        comparison, pool = bench.do()
        assert counts(pool) == {"train": 6 + 9, "test": 9, "latency": 3}
        kinds = [what for what, *_ in pool.log]
        assert kinds == ["train"] * 15 + ["test"] * 9 + ["latency"] * 3
        assert pool.log[:6] == [("train", expid, 2024) for expid in EXPIDS for _ in range(2)]
        assert set(pool.log[6:15]) == {("train", expid, seed) for expid in EXPIDS for seed in (1, 2, 3)}
        assert bench.watcher.phases == [
            ("tune", 6),
            ("train", 9),
            ("train", 0),
            ("test", 9),
            ("latency", 3),
        ]
        assert comparison.lost == [] and bench.folder.terms.exists()

    def test_no_test_split_is_read_before_the_choice(self, bench, monkeypatch):
        """Nothing that is in the folder when chosen.yaml is written knows a test score."""
        seen = []

        def look(folder, chosen):
            seen.append([file for file in folder.path.rglob("*") if "test_scores" in file.name])
            assert folder.scorings == []
            assert all("test" not in json.loads(f.read_text()) for f in folder.path.rglob("metrics.json"))
            return write(folder, chosen)

        write = type(bench.folder).write_chosen
        monkeypatch.setattr(type(bench.folder), "write_chosen", look)
        bench.do()
        assert seen == [[]]

    def test_all_models_see_the_same_points_of_the_shared_axes(self, bench):
        comparison, _ = bench.do(trials=4)
        points = {}
        for label, sweep in comparison.sweeps.items():
            trials = [row.trial for row in sweep.all_rows]
            assert len(trials) == 4 and all(trial.seed == 2024 for trial in trials)
            points[label] = [
                [trial.values[axis] for axis in ("learning_rate", "schedule")] for trial in trials
            ]
            for trial in trials:
                fit = trial.experiment.fit
                assert fit.learning_rate == trial.values["learning_rate"]
                assert fit.reduce_lr_patience == {"fuxictr": 1, "patient": 2}[trial.values["schedule"]]
        assert points["DNN_clicks"] == points["LR_clicks"] == points["QNNalpha_clicks"]
        dropouts = [
            row.trial.experiment.model_params["net_dropout"]
            for row in comparison.sweeps["DNN_clicks"].all_rows
        ]
        assert sorted(dropouts) == [0.1, 0.1, 0.2, 0.2]

    def test_what_was_chosen(self, bench):
        comparison, _ = bench.do()
        chosen = bench.folder.chosen
        assert chosen["comparator"] == "DNN_clicks" and chosen["proposed"] == "QNNalpha_clicks"
        for label, said in chosen["configs"].items():
            sweep = comparison.sweeps[label]
            assert said["config_digest"] == sweep.best.trial.digest and said["trials"] == 2
            assert said["settings"] == sweep.best.trial.values and said["seeds"] == [1, 2, 3]
            assert said["settings"]["learning_rate"] == 0.01  # the better one
            assert len(said["valid_AUC"]) == 3

    def test_a_proposed_model_is_no_comparator(self, bench):
        """DNN, the best baseline, is somebody's own model here."""
        bench.do(proposed=("DNN_clicks",))
        assert bench.folder.chosen["comparator"] == "LR_clicks"
        with pytest.raises(RequestError, match="with --proposed DNN_clicks, whose test split was read"):
            bench.do()

    def test_the_log_has_a_line_a_scoring(self, bench):
        bench.do()
        lines = bench.folder.scorings
        assert len(lines) == 9 and len({(line["expid"], line["seed"]) for line in lines}) == 9
        files = list(bench.folder.runs.glob("*/seed*/test_scores.parquet"))
        assert len(files) == 9

    def test_the_report(self, bench):
        comparison, _ = bench.do()
        section, left_out, notes = report_of(comparison)
        assert left_out == [] and section.comparison.comparator.label == "DNN_clicks"
        assert [entry.label for entry in section.comparison.entries][0] == "QNNalpha_clicks"
        for part in (
            "2 trials of each model, at the same points of a shared space",
            "; valid AUC of the trials 0.",
            "Final seeds: 1 to 3; none of them was tuned with",
            "The test split was scored 9 times: once for each final config and seed",
            "before any test split was read",
            "LR has no dropout",
        ):
            assert part in notes
        assert (bench.folder.path / "report.html").exists() and (bench.folder.path / "table.tex").exists()
        assert all(entry.mean(LATENCY) == 1.5 for entry in section.comparison.entries)


class TestGoingOn:
    def test_a_second_command_does_nothing(self, bench):
        bench.do()
        before = bench.files()
        _, pool = bench.do()
        assert pool.log == [] and bench.files() == before

    def test_killed_after_any_number_of_events_everything_is_done_once(self, bench):
        whole = MadePool()
        bench.do(whole)
        expected, chosen = sorted(whole.log), bench.folder.chosen
        shutil.rmtree(bench.folder.path)
        log, sessions = [], 0
        while True:
            pool = MadePool(die_after=11, log=log)
            try:
                bench.do(pool)
                break
            except Killed:
                sessions += 1
        assert sessions > 5 and sorted(log) == expected
        assert len(bench.folder.scorings) == 9
        assert {**bench.folder.chosen, "when": ""} == {**chosen, "when": ""}

    def test_killed_between_a_score_and_its_line(self, bench):
        bench.do()
        file = bench.folder.path / "test_log.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:-2]))
        _, pool = bench.do()
        assert pool.log == [] and len(bench.folder.scorings) == 9

    def test_more_trials_extend_what_there_is_until_test_is_read(self, bench):
        with pytest.raises(Killed):
            bench.do(MadePool(die_after=60))  # while final runs are trained
        assert not bench.folder.scorings
        comparison, pool = bench.do(trials=4)
        assert {len(sweep.all_rows) for sweep in comparison.sweeps.values()} == {4}
        assert sum(seed == 2024 for _, _, seed in pool.log) == 6
        with pytest.raises(RequestError, match="4 trials, whose test split was read"):
            bench.do(trials=6)

    def test_records_of_trials_are_enough_to_go_on_from(self, bench):
        with pytest.raises(Killed):
            bench.do(MadePool(die_after=60))
        shutil.rmtree(bench.folder.runs)
        records = {"comparison.yaml", "config.yaml", "history.jsonl", "metrics.json", "trial.json"}
        for file in bench.folder.path.rglob("*"):
            if file.is_file() and file.name not in records:
                file.unlink()
        _, pool = bench.do()
        assert counts(pool) == {"train": 9, "test": 9, "latency": 3}
        assert all(seed != 2024 for *_, seed in pool.log)

    def test_nothing_is_chosen_anew_once_test_was_read(self, bench):
        bench.do()
        (bench.folder.path / "chosen.yaml").unlink()
        before = bench.files()
        with pytest.raises(RequestError, match="chosen.yaml is gone, .*: put it back, or --name"):
            bench.do()
        assert bench.files() == before

    def test_significance_looks_at_the_seeds_that_the_folder_has(self, bench):
        bench.do(seeds=2)
        before = bench.files()
        with pytest.raises(
            RequestError, match=r"needs 3 seeds of each model, '.*clicks' was begun with 2; --seeds 3"
        ):
            bench.prepare(significance=True)
        assert bench.files() == before
        assert bench.prepare(seeds=3, significance=True).terms.seeds == 3

    def test_more_seeds_after_test_was_read_leave_what_was_chosen(self, bench):
        bench.do()
        before = (bench.folder.path / "chosen.yaml").read_bytes()
        comparison, pool = bench.do(seeds=4)
        assert counts(pool) == {"train": 3, "test": 3} and all(seed == 4 for *_, seed in pool.log)
        assert (bench.folder.path / "chosen.yaml").read_bytes() == before
        assert "scored 12 times" in report_of(comparison)[2]

    def test_a_folder_in_which_configs_were_changed_by_hand(self, bench):
        bench.do()
        file = bench.folder.path / "chosen.yaml"
        chosen = yaml.safe_load(file.read_text())
        chosen["configs"]["DNN_clicks"]["config_digest"] = "00000000"
        file.write_text(yaml.safe_dump(chosen))
        with pytest.raises(RequestError, match="00000000 for DNN_clicks, and its trials say"):
            bench.do()

    def test_two_at_once(self, bench):
        prepared = bench.prepare()
        with bench.folder.locked(), pytest.raises(RunError, match="another process is at the comparison"):
            with open_comparison(prepared, bench.folder, SweepData(bench.data), MadePool(), bench.watcher):
                pass

    def test_a_full_disk_is_no_bug(self, bench, monkeypatch):
        def full(folder, chosen):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(RunError, match="stops here: .*No space left"):
            patch.setattr(type(bench.folder), "write_chosen", full)
            bench.do()
        _, pool = bench.do()
        assert counts(pool) == {"test": 9, "latency": 3}

    def test_a_final_run_that_was_changed_by_hand(self, bench):
        bench.do()
        file = next(bench.folder.runs.glob("DNN_clicks-*/seed2/metrics.json"))
        file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": 3}))
        with pytest.raises(RequestError, match="seed2'.*is of another run.*remove the folder"):
            bench.do()

    def test_other_trials_of_the_same_config_after_its_seed_changed(self, bench):
        bench.do()
        file = bench.config / "model_config.yaml"
        file.write_text(file.read_text().replace("seed: 2024", "seed: 3000"))
        with pytest.raises(RequestError, match="trials of LR_clicks have the seed 2024.*says 3000: --name"):
            bench.do()

    def test_a_folder_of_an_earlier_version_names_no_seed_of_trials(self, bench):
        bench.do()
        terms = yaml.safe_load(bench.folder.terms.read_text())
        assert terms.pop("tuning_seeds") == dict.fromkeys(EXPIDS, 2024)
        bench.folder.terms.write_text(yaml.safe_dump(terms))
        _, pool = bench.do()
        assert pool.log == []

    def test_more_trials_prepared_while_another_process_reads_test(self, bench):
        with pytest.raises(Killed):
            bench.do(MadePool(die_after=5))
        late = bench.prepare(trials=4)
        bench.do()
        before = bench.files()
        with pytest.raises(RequestError, match="2 trials, whose test split was read"):
            with open_comparison(late, bench.folder, SweepData(bench.data), MadePool(), bench.watcher):
                pass
        assert bench.files() == before

    def test_scores_that_a_kill_left_alone_were_read(self, bench):
        class Dies(MadePool):
            def _score(self, job, folder):
                before = folder.metrics
                super()._score(job, folder)
                folder.complete(before)
                raise Killed

        with pytest.raises(Killed):
            bench.do(Dies())
        assert not bench.folder.scorings
        with pytest.raises(RequestError, match="whose test split was read"):
            bench.do(trials=4)
        bench.do()
        assert len(bench.folder.scorings) == 9

    def test_nothing_is_scored_again_because_its_folder_is_gone(self, bench):
        bench.do()
        shutil.rmtree(next(bench.folder.runs.glob("DNN*/seed2")))
        with pytest.raises(RequestError, match="seed2'.*was scored.*put its folder back, or --name"):
            bench.do()
        assert len(bench.folder.scorings) == 9

    def test_weights_that_are_gone_before_they_scored(self, bench):
        class Dies(MadePool):
            def _score(self, job, folder):
                raise Killed

        with pytest.raises(Killed):
            bench.do(Dies())
        gone = next(bench.folder.runs.glob("DNN*/seed2/model.pt"))
        gone.unlink()
        with pytest.raises(RequestError, match="seed2': model.pt, the weights .* is missing: put it back"):
            bench.do()
        assert not bench.folder.scorings

    @pytest.mark.parametrize("text", ["", "[]", "{}", '"a"'])
    @pytest.mark.parametrize("name", ["chosen.yaml", "test_log.jsonl", "failed.json"])
    def test_damaged_files_are_named(self, bench, name, text):
        bench.do(MadePool(lambda e, seed: "not finite" if (e.model, seed) == ("DNN", 2) else None))
        (file,) = bench.folder.path.rglob(name)
        file.write_text(text)
        if name == "test_log.jsonl" and not text:  # its lines are made anew from the runs
            bench.do()
            assert len(bench.folder.scorings) == 8
            return
        with pytest.raises(RequestError, match="put it back|expected `name"):
            bench.do()


class TestFailures:
    def test_a_failed_seed_is_listed_and_never_replaced(self, bench):
        def fails(experiment, seed):
            return "the loss is not finite" if (experiment.model, seed) == ("DNN", 2) else None

        comparison, pool = bench.do(MadePool(fails))
        section, left_out, notes = report_of(comparison)
        assert "DNN_clicks, seed 2 has no result: the loss is not finite" in notes and not left_out
        assert counts(pool)["test"] == 8 and "scored 8 times" in notes
        _, pool = bench.do()  # it would succeed now
        assert pool.log == []

    def test_a_killed_run_goes_on_by_the_same_command(self, bench):
        def fails(experiment, seed):
            return "killed by SIGKILL" if (experiment.model, seed) == ("DNN", 2) else None

        with pytest.raises(RunError, match="DNN_clicks, seed 2: killed by SIGKILL\nthe same command goes on"):
            bench.do(MadePool(fails))
        assert not bench.folder.scorings
        comparison, pool = bench.do()
        assert ("train", "DNN_clicks", 2) in pool.log and counts(pool)["train"] == 1
        assert "scored 9 times" in report_of(comparison)[2]

    def test_a_killed_trial_goes_on_by_the_same_command(self, bench):
        def fails(experiment, seed):
            return "killed by SIGKILL" if (experiment.model, seed) == ("DNN", 2024) else None

        with pytest.raises(RunError, match="2 trials of DNN_clicks were killed"):
            bench.do(MadePool(fails))
        comparison, pool = bench.do()
        assert [entry for entry in pool.log if entry[2] == 2024] == [("train", "DNN_clicks", 2024)] * 2
        assert comparison.lost == []

    def test_a_failed_trial_is_counted_and_said(self, bench):
        def fails(experiment, seed):
            failing = experiment.model == "DNN" and experiment.fit.learning_rate == 0.01 and seed == 2024
            return "the loss is not finite" if failing else None

        comparison, _ = bench.do(MadePool(fails))
        assert bench.folder.chosen["configs"]["DNN_clicks"]["settings"]["learning_rate"] == 0.02
        assert (
            "DNN_clicks: learning_rate=0.02" in (notes := report_of(comparison)[2]) and "; 1 failed." in notes
        )

    def test_a_model_of_which_everything_fails_has_no_row(self, bench):
        def fails(experiment, seed):
            return "it cannot be built" if experiment.model == "LR" else None

        comparison, _ = bench.do(MadePool(fails))
        section, left_out, _ = report_of(comparison)
        assert left_out == ["LR_clicks has no row, all its trials failed: it cannot be built"]
        assert len(section.comparison.entries) == 2

    def test_every_final_seed_of_a_model_fails(self, bench):
        def fails(experiment, seed):
            return "the loss is not finite" if experiment.model == "LR" and seed < 9 else None

        section, left_out, _ = report_of(bench.do(MadePool(fails))[0])
        assert left_out == ["LR_clicks has no row, every seed failed: the loss is not finite"]

    def test_nothing_has_a_result(self, bench):
        with pytest.raises(RunError, match="no final run has a result"):
            bench.do(MadePool(lambda experiment, seed: "no" if seed < 9 else None))

    def test_no_trial_has_a_result(self, bench):
        with pytest.raises(RunError, match="DNN_clicks has no row, all its trials failed: not finite"):
            bench.do(MadePool(lambda experiment, seed: "not finite"))


class TestKinds:
    def test_as_they_stand(self, bench):
        comparison, pool = bench.do(expids=tuple(EXPIDS), trials=None)
        assert counts(pool) == {"train": 9, "test": 9, "latency": 3} and comparison.sweeps == {}
        notes = report_of(comparison)[2]
        assert "their settings were not searched here" in notes
        assert not (bench.folder.path / "tune").exists()

    def test_expids_can_be_tuned_too(self, bench):
        comparison, pool = bench.do(expids=tuple(EXPIDS), trials=2)
        assert counts(pool)["train"] == 6 + 9

    def test_more_seeds_for_the_comparator_and_the_best_proposed(self, bench):
        comparison, pool = bench.do(more_seeds=5)
        extra = sorted((expid, seed) for what, expid, seed in pool.log if what == "train" and seed in (4, 5))
        assert extra == [("DNN_clicks", 4), ("DNN_clicks", 5), ("QNNalpha_clicks", 4), ("QNNalpha_clicks", 5)]
        assert counts(pool)["test"] == 9 + 4
        order = [what for what, *_ in pool.log]
        assert order.index("test") > max(i for i, what in enumerate(order) if what == "train")
        assert "and to 5 for DNN_clicks and QNNalpha_clicks, chosen by validation" in report_of(comparison)[2]

    def test_recipes_stand_outside(self, bench):
        """One of an expid that is tuned, too; --set of what all share leaves it as published."""
        sets = ("batch_size=200", "epochs=2")
        comparison, pool = bench.do(recipes=("QNNalpha_clicks",), sets=sets)
        section, _, notes = report_of(comparison)
        (recipe,) = [entry for entry in section.comparison.entries if entry.recipe]
        assert recipe.label == "QNNalpha_clicks recipe" and recipe.seeds == [1]
        assert recipe.settings["batch_size"] == 100 and recipe.settings["epochs"] == 3
        others = [entry for entry in section.comparison.entries if not entry.recipe]
        assert {entry.settings["batch_size"] for entry in others} == {200}
        assert (
            recipe.label not in section.comparison.differences
            and "'config as it stands' stand outside" in notes
        )
        assert section.comparison.comparator.label == "DNN_clicks"

    def test_a_recipe_that_is_what_trials_chose_is_one_run(self, bench):
        comparison, pool = bench.do(recipes=("LR_clicks",), trials=4)
        done = Counter(pool.log)
        assert done[("train", "LR_clicks", 1)] == done[("test", "LR_clicks", 1)] == 1
        assert sum(what == "latency" for what, *_ in done.elements()) == 3
        assert len(bench.folder.scorings) == 9
        assert "scored 9 times" in report_of(comparison)[2]

    def test_a_recipe_of_what_is_compared_with_other_settings(self, bench):
        bench.do(expids=tuple(EXPIDS), trials=None, recipes=("LR_clicks",), sets=("epochs=2",))
        assert len(bench.folder.scorings) == 10
        with pytest.raises(RequestError, match="--recipe LR_clicks: it is compared as it stands"):
            bench.do(expids=tuple(EXPIDS), trials=None, recipes=("LR_clicks",))

    def test_more_seeds_that_are_no_more(self, bench):
        comparison, pool = bench.do(seeds=4, more_seeds=5)
        assert "and to 5 for DNN_clicks and QNNalpha_clicks" in report_of(comparison)[2]
        comparison, pool = bench.do(seeds=6)
        assert "Final seeds: 1 to 6; none" in report_of(comparison)[2]

    def test_tpe_says_how_many_different_trials_there_were(self, bench):
        pytest.importorskip("optuna")
        comparison, _ = bench.do(search="tpe", trials=6)
        assert len(comparison.sweeps["LR_clicks"].all_rows) == 4
        assert "LR_clicks: learning_rate=0.01, schedule=fuxictr; 4 trials, as" in report_of(comparison)[2]

    def test_a_recipe_of_several_seeds(self, bench):
        comparison, pool = bench.do(recipes=("LR_clicks",), models=("DNN", "QNNalpha"), recipe_seeds=2)
        (recipe,) = [entry for entry in report_of(comparison)[0].comparison.entries if entry.recipe]
        assert recipe.label == "LR_clicks" and recipe.seeds == [1, 2]

    def test_tpe(self, bench):
        pytest.importorskip("optuna")
        comparison, pool = bench.do(search="tpe", trials=3)
        assert {len(sweep.all_rows) for sweep in comparison.sweeps.values()} == {3}
        assert "3 trials of each model, proposed by TPE" in report_of(comparison)[2]

    def test_without_baselines_there_is_nothing_proposed_beside_the_comparator(self, bench):
        bench.do(models=("QNNalpha",), more_seeds=4)
        assert (
            bench.folder.chosen["comparator"] == "QNNalpha_clicks" and bench.folder.chosen["proposed"] is None
        )

    def test_fewer_than_three_seeds_say_that_nothing_is_tested(self, bench):
        notes = report_of(bench.do(seeds=2)[0])[2]
        assert "No test and no ranking" in notes

    def test_runs_that_do_not_count_are_named(self, bench):
        comparison, _ = bench.do()
        run = next(bench.folder.runs.glob("DNN_clicks-*/seed1"))
        shutil.copytree(run, run.with_name("seed9"))
        assert (
            "seed9' is of settings or seeds that this comparison does not count"
            in report_of(comparison)[1][0]
        )
