"""A sweep in its folder: each trial once, whatever happened before. Without processes and training."""

from __future__ import annotations

import csv
import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.tuning.data import SweepData
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.session import do_sweep, look_at_sweep, open_sweep
from fuxictr_qnn.tuning.space import Space
from fuxictr_qnn.tuning.tuner_file import read_tuner
from tests.clicks import write_clicks, write_tuner
from tests.tuning.fake_pool import FakePool

EIGHT = {"num_row": [1, 2, 3, 4], "net_dropout": [0, 0.2]}


@pytest.fixture(scope="module")
def clicks(tmp_path_factory) -> Path:
    return write_clicks(tmp_path_factory.mktemp("clicks"))


class Bench:
    """A tuner file, its data and its sweep folder."""

    def __init__(self, root: Path, data: Path):
        self.root, self.data, self.folder = root, data, root / "sweeps" / "tuner"

    def space(self, space: dict, **expid) -> Space:
        return Space(read_tuner(write_tuner(self.root / "tuner.yaml", space, **expid)))

    def do(self, space: dict, pool: FakePool | None = None, expid=None, **options):
        """One session; returns the sweep as it stands then, and the pool."""
        pool = pool or FakePool()
        with open_sweep(
            self.space(space, **expid or {}), self.folder, SweepData(self.data), Options(**options)
        ) as sweep:
            do_sweep(sweep, lambda: pool)
        return sweep, pool

    def table(self) -> list[dict[str, str]]:
        return list(csv.DictReader((self.folder / "results.csv").open()))

    def trials(self) -> list[Path]:
        return sorted(self.folder.glob("data-*/*/seed*"))

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path, clicks) -> Bench:
    return Bench(tmp_path, clicks)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """They take longer than all the rest; one test draws them."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("fuxictr_qnn.tuning.session.draw_axes", lambda sweep: [])


@pytest.fixture
def pictures() -> None:
    """For a test that draws them."""
    pytest.importorskip("matplotlib")


class TestOneSession:
    def test_every_trial_once_and_what_it_leaves(self, bench):
        _, pool = bench.do(EIGHT, FakePool(workers=3))
        assert len(pool.started) == len(set(pool.completed)) == len(pool.completed) == 8
        assert not any(job.test for job in pool.started)
        table = bench.table()
        assert [row["state"] for row in table] == ["done"] * 8
        values = [float(row["valid AUC"]) for row in table]
        assert values == sorted(values, reverse=True)
        assert (table[0]["num_row"], table[0]["net_dropout"]) == ("4", "0")
        assert {row["trial"] for row in table} == {path.parent.name[-8:] for path in bench.trials()}
        page = (bench.folder / "results.md").read_text()
        assert "8 done; 0 to do" in page and page.count("| done |") == 8

    def test_the_best_config_runs_as_it_is(self, bench):
        bench.do(EIGHT)
        best = bench.folder / "best.yaml"
        loaded = load_experiment(config=best)
        assert loaded.experiment.digest == bench.table()[0]["trial"] and loaded.seed == 7
        assert best.read_text().startswith(
            "# num_row=4  net_dropout=0: valid AUC 0.663333, the best of 8 trials"
        )

    def test_weights_of_the_best_few_stay(self, bench):
        bench.do(EIGHT, FakePool(workers=2), keep=2)
        kept = {path.parents[1].name[-8:] for path in bench.folder.rglob("model.pt")}
        assert kept == {row["trial"] for row in bench.table()[:2]}

    def test_the_lowest_is_best_where_it_is_minimised(self, bench):
        expid = {"monitor": "logloss", "monitor_mode": "min"}
        bench.do({"num_row": [1, 2]}, expid=expid)
        assert bench.table()[0]["valid logloss"] == "0.500000"

    def test_a_picture_for_each_parameter(self, bench, pictures):
        bench.do(EIGHT)
        for key in EIGHT:
            assert (bench.folder / "plots" / f"{key}.png").read_bytes().startswith(b"\x89PNG")

    def test_large_values_may_differ_by_rounding(self, bench):
        expid = {"monitor": {"AUC": 1e5}, "metrics": ["AUC", "logloss"]}
        bench.do({"num_row": [1, 2]}, expid=expid)
        file = bench.trials()[0] / "metrics.json"
        metrics = json.loads(file.read_text())
        metrics["valid"]["AUC"] += 1e-6
        file.write_text(json.dumps(metrics))
        sweep, pool = bench.do({"num_row": [1, 2]}, expid=expid)
        assert not pool.started and sweep.count("done") == 2

    def test_a_weighted_sum_is_what_is_compared(self, bench):
        sweep, _ = bench.do({"num_row": [1, 2]}, expid={"monitor": {"AUC": 1, "logloss": -1}})
        assert sweep.best.standing.value == pytest.approx(0.6 + 0.04 - 0.01 - 0.05 / 3 - 0.5, abs=1e-6)


def by_seed(aucs: dict[tuple[int, int], float], fails: tuple[int, int] | None = None) -> FakePool:
    """What trials reach by (num_row, seed), and which of them fails."""
    pool = FakePool()

    def settings(experiment) -> tuple[int, int]:
        return experiment.model_params.get("num_row", 2), pool.job.seed

    pool.curve = lambda experiment: [aucs[settings(experiment)]] * experiment.fit.epochs
    pool.fails = lambda experiment: "ZeroDivisionError" if settings(experiment) == fails else None
    return pool


class TestSeeds:
    """Seeds as an axis: settings are compared by their mean."""

    SPACE = {"num_row": [1, 2], "seed": [1, 2]}

    def test_no_lucky_seed_decides(self, bench):
        values = {(1, 1): 0.70, (1, 2): 0.72, (2, 1): 0.60, (2, 2): 0.75}
        sweep, _ = bench.do(self.SPACE, by_seed(values))
        assert sweep.best.trial.values == {"num_row": 1, "seed": 2}
        assert sweep.best_value == pytest.approx(0.71)
        text = (bench.folder / "best.yaml").read_text()
        assert text.startswith("# num_row=1: valid AUC 0.710000, the mean over seeds 1, 2, the best of 4")
        assert "--seed 3 4 5\n" in text, "no seed of the sweep"
        assert "The best settings: num_row=1: valid AUC 0.710000" in (bench.folder / "results.md").read_text()

    def test_settings_that_fail_with_a_seed_come_last(self, bench):
        values = {(1, 1): 0.70, (1, 2): 0.70, (2, 1): 0.80, (2, 2): 0.80}
        sweep, _ = bench.do(self.SPACE, by_seed(values, fails=(2, 2)))
        assert (sweep.count("failed"), sweep.best.trial.values["num_row"]) == (1, 1)


class TestAgain:
    def test_the_same_command_does_nothing_more(self, bench):
        bench.do(EIGHT)
        before = bench.files()
        with open_sweep(bench.space(EIGHT), bench.folder, SweepData(bench.data), Options()) as sweep:
            do_sweep(sweep, lambda: pytest.fail("there is nothing to do"))
        assert bench.files() == before

    def test_a_larger_space_does_what_is_new(self, bench):
        bench.do({"num_row": [1, 2]})
        _, pool = bench.do({"net_dropout": [0.2, 0.1], "num_row": [3, 2, 1]})
        assert len(pool.started) == 4 and len(bench.table()) == 6  # dropout 0.1 is the base's

    def test_a_smaller_space_counts_its_own_trials_only(self, bench):
        bench.do(EIGHT)
        sweep, pool = bench.do({"num_row": [1, 2]}, expid={"net_dropout": 0.2})
        assert not pool.started and len(bench.table()) == 2 and sweep.others == 6
        assert (bench.folder / "best.yaml").read_text().startswith("# num_row=2: ")

    @pytest.mark.parametrize("less", [{"trials": 2}, {"search": "random", "trials": 1}])
    def test_a_shorter_search_forgets_no_trial_that_is_done(self, bench, less):
        sweep, _ = bench.do(EIGHT)
        best = sweep.best.trial.digest
        sweep, pool = bench.do(EIGHT, **less)
        assert not pool.started and len(bench.table()) == 8 and (sweep.others, sweep.to_do) == (0, 0)
        assert sweep.best.trial.digest == bench.table()[0]["trial"] == best

    def test_what_another_search_did_not_end_is_not_done_by_a_shorter_one(self, bench):
        bench.do({"num_row": [1, 2, 3, 4]}, FakePool(fails=fails))
        sweep, pool = bench.do({"num_row": [1, 2, 3, 4]}, trials=1, retry_failed=True)
        assert not pool.started and [row["state"] for row in bench.table()] == ["done"] * 2
        assert (sweep.others, sweep.to_do) == (2, 0)

    def test_another_base_is_another_set_of_trials(self, bench):
        bench.do({"num_row": [1, 2]})
        sweep, pool = bench.do({"num_row": [1, 2]}, expid={"epochs": 2})
        assert len(pool.started) == 2 and sweep.others == 2

    def test_other_data_is_kept_apart(self, bench, tmp_path):
        bench.data = tmp_path / "data"
        shutil.copytree(write_clicks(tmp_path / "data") / "clicks", tmp_path / "copy")
        bench.do({"num_row": [1, 2]})
        with (bench.data / "clicks" / "valid.csv").open("a") as file:
            file.write("1,3,4\n")
        sweep, pool = bench.do({"num_row": [1, 2]})
        assert len(pool.started) == 2 and sweep.others == 2 and len(list(bench.folder.glob("data-*"))) == 2
        assert len(bench.table()) == 2
        shutil.copy(tmp_path / "copy" / "valid.csv", bench.data / "clicks" / "valid.csv")
        _, pool = bench.do({"num_row": [1, 2]})
        assert not pool.started

    def test_parameters_of_the_data_share_their_builds(self, bench, tmp_path):
        bench.data = write_clicks(tmp_path / "data")
        sweep, pool = bench.do({"min_categr_count": [1, 5], "num_row": [1, 2]})
        assert len(pool.completed) == 4 and sweep.others == 0
        assert len(list(bench.data.glob("clicks/built-*"))) == len(list(bench.folder.glob("data-*"))) == 2

    def test_trials_that_read_equal_files_are_one(self, bench, tmp_path):
        bench.data = write_clicks(tmp_path / "data")
        shutil.copy(bench.data / "clicks" / "train.csv", bench.data / "clicks" / "copy.csv")
        space = {"train_data": ["clicks/train.csv", "clicks/copy.csv"], "num_row": [1, 2]}
        sweep, pool = bench.do(space, FakePool(workers=4))
        assert len(pool.started) == 2 and sweep.to_do == 0 and sweep.count("done") == 2
        assert [row["state"] for row in bench.table()] == ["done"] * 2

    def test_nothing_stays_of_a_best_trial_that_is_of_another_space(self, bench, pictures):
        bench.do({"num_row": [1, 2]})
        assert (bench.folder / "best.yaml").exists() and (bench.folder / "plots" / "num_row.png").exists()
        bench.do({"num_layers": [2, 3]}, FakePool(fails=lambda experiment: "ZeroDivisionError"))
        assert not (bench.folder / "best.yaml").exists() and not list(bench.folder.glob("plots/*"))

    def test_fewer_weights_can_be_kept_later(self, bench):
        bench.do(EIGHT)
        assert len(list(bench.folder.rglob("model.pt"))) == 3
        bench.do(EIGHT, keep=1)
        (kept,) = bench.folder.rglob("model.pt")
        assert kept.parents[1].name[-8:] == bench.table()[0]["trial"]

    def test_another_class_of_the_same_name_is_refused(self, bench):
        bench.do({"num_row": [1, 2]})
        file = bench.trials()[0] / "metrics.json"
        metrics = json.loads(file.read_text())
        file.write_text(json.dumps(metrics | {"model_class": "_fuxictr_zoo_0123456789ab.QNNalpha:QNNalpha"}))
        with pytest.raises(RequestError, match="by another class of that name .*give the --zoo"):
            bench.do({"num_row": [1, 2]})

    def test_two_at_once_are_refused(self, bench):
        with open_sweep(bench.space(EIGHT), bench.folder, SweepData(bench.data), Options()):
            with pytest.raises(RunError, match="another process is at the sweep"):
                bench.do(EIGHT)

    def test_a_part_of_the_trials(self, bench):
        _, pool = bench.do(EIGHT, tag="num_row=2")
        assert [job.experiment.model_params.get("num_row", 2) for job in pool.started] == [2, 2]
        assert [row["state"] for row in bench.table()] == ["done"] * 2 + ["new"] * 6
        digest = bench.table()[-1]["trial"]
        _, pool = bench.do(EIGHT, tag=digest)
        assert [job.experiment.digest for job in pool.started] == [digest]
        with pytest.raises(RequestError, match="--tag num_row=9: no trial has it.*'num_row=4'"):
            bench.do(EIGHT, tag="num_row=9")
        for tag in ("2024", "row"):  # the seed that all share, a part of a key
            with pytest.raises(RequestError, match=f"--tag {tag}: no trial has it"):
                bench.do(EIGHT, tag=tag)

    def test_a_tag_with_a_value_means_that_value(self, bench):
        _, pool = bench.do({"num_row": [1, 13]}, tag="num_row=1")
        assert [job.experiment.model_params.get("num_row", 2) for job in pool.started] == [1]
        _, pool = bench.do({"num_row": [1, 13]}, tag="13")
        assert [job.experiment.model_params.get("num_row", 2) for job in pool.started] == [13]


def fails(experiment):
    return {2: "killed by SIGKILL", 3: "ZeroDivisionError:\n  a bug"}.get(
        experiment.model_params.get("num_row", 2)
    )


class TestFailures:
    def test_they_are_kept_with_their_reason_and_do_not_stop_the_rest(self, bench):
        bench.do({"num_row": [1, 2, 3, 4]}, FakePool(fails=fails))
        assert [row["state"] for row in bench.table()] == ["done", "done", "failed", "failed"]
        notes = {row["num_row"]: row["note"] for row in bench.table()}
        assert (notes["2"], notes["3"], notes["1"]) == ("killed by SIGKILL", "ZeroDivisionError: a bug", "")
        _, pool = bench.do({"num_row": [1, 2, 3, 4]})
        assert not pool.started

    def test_a_full_disk_is_said_in_a_sentence(self, bench, monkeypatch):
        def full(*arguments):
            raise OSError(28, "No space left on device", str(bench.folder / "results.csv"))

        monkeypatch.setattr("fuxictr_qnn.tuning.results.write_text", full)
        with pytest.raises(RunError, match="No space left on device.*results.csv.*the same command goes on"):
            bench.do({"num_row": [1, 2]})
        monkeypatch.undo()
        sweep, _ = bench.do({"num_row": [1, 2]})
        assert sweep.count("done") == 2

    def test_retrying_goes_on_after_a_signal_and_starts_anew_after_a_bug(self, bench):
        bench.do({"num_row": [1, 2, 3]}, FakePool(fails=fails))
        weights = {path.parents[1] for path in bench.folder.rglob("checkpoint.pt")}
        assert len(weights) == 1, "only the killed one may need them"
        _, pool = bench.do({"num_row": [1, 2, 3]}, retry_failed=True)
        assert [(job.experiment.model_params.get("num_row", 2), job.restart) for job in pool.started] == [
            (2, False),
            (3, True),
        ]
        assert [row["state"] for row in bench.table()] == ["done"] * 3

    def test_what_fails_again_is_tried_once_a_session(self, bench):
        bench.do({"num_row": [1, 3]}, FakePool(fails=fails))
        sweep, pool = bench.do({"num_row": [1, 3]}, FakePool(fails=fails), retry_failed=True)
        assert len(pool.started) == 1 and sweep.count("failed") == 1 and sweep.to_do == 0


@pytest.mark.parametrize(
    ("search", "seed"), [("grid", 0), ("grid", 1), ("grid", 2), ("random", 3), ("tpe", 4), ("tpe", 5)]
)
def test_killed_at_any_moment_every_trial_is_done_once(bench, search, seed):
    if search == "tpe":
        pytest.importorskip("optuna")
    rng, completed = random.Random(seed), []
    for _ in range(5):
        pool = FakePool(workers=2, die_after=rng.randrange(10))
        with suppress(FakePool.Killed):  # the last one may come too late
            bench.do(EIGHT, pool, search=search, trials=8)
        completed += pool.completed
        if rng.random() < 0.5 and bench.trials():  # the end of a line was lost
            cut_the_history(rng.choice(bench.trials()), rng)
    _, pool = bench.do(EIGHT, search=search, trials=8)
    completed += pool.completed
    assert len(completed) == len(set(completed)) == 8 == len(bench.trials())
    assert [row["state"] for row in bench.table()] == ["done"] * 8
    for folder in bench.trials():
        records = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        assert [record["evaluation"] for record in records] == [1, 2, 3]


def cut_the_history(folder: Path, rng: random.Random) -> None:
    file = folder / "history.jsonl"
    if file.exists() and not (folder / "metrics.json").exists():
        text = file.read_text()
        lines = text.splitlines(keepends=True)
        file.write_text("".join(lines[:-1]))


class TestTpe:
    @pytest.fixture(autouse=True)
    def _optuna(self):
        pytest.importorskip("optuna")

    def test_it_ends_where_there_are_fewer_experiments_than_combinations(self, bench):
        space = {"num_row": [1, 2], "model_root": ["./a", "./b"]}
        sweep, pool = bench.do(space, search="tpe", trials=4)
        assert len(pool.completed) == 2 and sweep.to_do == 0

    def test_wrong_combinations_are_passed_over(self, bench):
        space = {"ema_decay": [None, 0.9], "average_last": [None, 3]}
        sweep, pool = bench.do(space, search="tpe", trials=4)
        assert len(pool.completed) == 3 and sweep.to_do == 0

    def test_so_many_trials_in_all_over_sessions(self, bench):
        space = {"num_row": list(range(1, 11)), "net_dropout": [0, 0.1, 0.2, 0.3]}
        _, pool = bench.do(space, FakePool(workers=2), search="tpe", trials=6)
        assert len(pool.completed) == 6
        sweep, pool = bench.do(space, FakePool(workers=2), search="tpe", trials=10)
        assert len(pool.completed) == 4 and len(sweep.rows) == 10 and sweep.to_do == 0

    def test_trials_of_a_grid_count_for_it(self, bench):
        bench.do({"num_row": [1, 2, 3, 4]})
        sweep, pool = bench.do({"num_row": list(range(1, 7))}, search="tpe", trials=5)
        assert len(pool.completed) == 1 and len(sweep.rows) == 5

    def test_failures_count_too(self, bench):
        sweep, pool = bench.do({"num_row": [1, 2, 3, 4]}, FakePool(fails=fails), search="tpe", trials=4)
        assert (sweep.count("done"), sweep.count("failed"), len(pool.started)) == (2, 2, 4)


class TestPruning:
    SPACE = {"num_row": [6, 5, 4, 3, 2, 1]}

    def test_hopeless_trials_end_early_and_stay_so(self, bench):
        expid = {"epochs": 9}
        sweep, pool = bench.do(self.SPACE, expid=expid, prune="median")
        assert sweep.best.trial.values == {"num_row": 6} and sweep.count("pruned") == 2
        pruned = [row for row in bench.table() if row["state"] == "pruned"]
        assert {row["note"] for row in pruned} == {"median, after evaluation 3"}
        assert all(float(row["valid AUC"]) > 0.5 for row in pruned)
        assert all(job.prunable for job in pool.started)
        folders = [path.parent for path in bench.folder.rglob("trial.json") if "pruned" in path.read_text()]
        assert len(folders) == 2 and not any((folder / "checkpoint.pt").exists() for folder in folders)
        _, pool = bench.do(self.SPACE, expid=expid, prune="median")
        assert not pool.started

    def test_without_pruning_they_are_done_after_all(self, bench):
        bench.do(self.SPACE, expid={"epochs": 9}, prune="asha")
        pruned = [row for row in bench.table() if row["state"] == "pruned"]
        sweep, pool = bench.do(self.SPACE, expid={"epochs": 9})
        assert len(pool.started) == len(pruned) > 0 and all(job.restart for job in pool.started)
        assert sweep.count("done") == 6

    def test_a_trial_is_compared_with_those_of_earlier_sessions(self, bench):
        bench.do({"num_row": [6, 5, 4, 3]}, expid={"epochs": 9})
        sweep, pool = bench.do(self.SPACE, expid={"epochs": 9}, prune="median")
        assert sweep.count("pruned") == len(pool.started) == 2

    def test_lower_is_better_where_it_is_minimised(self, bench):
        expid = {"epochs": 9, "monitor": {"AUC": -1.0}, "monitor_mode": "min"}
        sweep, _ = bench.do(self.SPACE, expid=expid, prune="median")
        assert sweep.best.trial.values == {"num_row": 6} and sweep.count("pruned") == 2


class TestWrong:
    """Refused with a sentence, and everything on disk as it was."""

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            ({"trials": 0}, "--trials 0: expected a number of at least 1"),
            ({"search": "random"}, "--search random needs --trials K"),
            ({"search": "tpe", "trials": 2, "tag": "x"}, "--tag picks among trials that are known"),
            ({"keep": 0}, "--keep 0"),
        ],
    )
    def test_options(self, bench, options, part):
        with pytest.raises(RequestError, match=part):
            bench.do(EIGHT, **options)
        assert not bench.folder.exists()

    def test_no_data(self, bench, tmp_path):
        bench.data = tmp_path / "nowhere"
        with pytest.raises(RequestError, match="(?s)train_data.*set --data-root") as caught:
            bench.do(EIGHT)
        assert len(caught.value.problems) == 3 and not (tmp_path / "sweeps").exists()

    def test_data_without_both_classes(self, bench, tmp_path):
        bench.data = write_clicks(tmp_path / "data")
        file = bench.data / "clicks" / "valid.csv"
        file.write_text(file.read_text().replace("\n1,", "\n0,"))
        with pytest.raises(RequestError, match="all its labels are 0"):
            bench.do(EIGHT)
        assert not bench.folder.exists()

    def test_an_unwritable_folder(self, bench, tmp_path):
        (tmp_path / "sweeps").mkdir(mode=0o500)
        with pytest.raises(RequestError, match="--out: .* cannot be written"):
            bench.do(EIGHT)

    def edit(self, folder: Path, name: str, change) -> None:
        read, write = (json.loads, json.dumps) if name.endswith(".json") else (yaml.safe_load, yaml.safe_dump)
        content = read((folder / name).read_text())
        change(content)
        (folder / name).write_text(write(content))

    @pytest.mark.parametrize(
        ("name", "change", "part"),
        [
            ("metrics.json", lambda c: c["valid"].update(AUC=0.9), "metrics.json says 0.9"),
            ("metrics.json", lambda c: c.pop("valid"), "lacks 'valid'"),
            ("metrics.json", lambda c: c["valid"].update(AUC="high"), "cannot be read"),
            ("metrics.json", lambda c: c.update(config_digest="0" * 8), "of different experiments"),
            ("metrics.json", lambda c: c.update(data_fingerprint="0" * 16), "of other data than"),
            (
                "config.yaml",
                lambda c: c["experiment"]["fit"].update(learning_rate=5.0),
                "different experiments",
            ),
            (
                "config.yaml",
                lambda c: c["experiment"].update(fit=3),
                "fit missing, unknown or of another kind",
            ),
            ("config.yaml", lambda c: c.update(seed=8), "different experiments"),
        ],
    )
    def test_a_run_folder_edited_by_hand(self, bench, name, change, part):
        bench.do({"num_row": [1, 2]})
        folder = bench.trials()[0]
        self.edit(folder, name, change)
        before = bench.files()
        with pytest.raises(RequestError, match=part) as caught:
            bench.do({"num_row": [1, 2]})
        assert f"'{folder}" in str(caught.value) and "remove the folder" in str(caught.value)
        assert bench.files() == before
        shutil.rmtree(folder)
        _, pool = bench.do({"num_row": [1, 2]})
        assert len(pool.started) == 1

    @pytest.mark.parametrize("name", ["metrics.json", "config.yaml", "trial.json", "history.jsonl"])
    def test_a_file_of_nonsense(self, bench, name):
        bench.do({"num_row": [1]})
        (bench.trials()[0] / name).write_text("{1: [\n")
        if name == "trial.json":  # says nothing that metrics.json does not say better
            bench.do({"num_row": [1]})
            return
        with pytest.raises(RequestError, match="no run leaves it so"):
            bench.do({"num_row": [1]})

    @pytest.mark.parametrize(
        "names", [["metrics.json"], ["metrics.json", "config.yaml"], ["history.jsonl", "metrics.json"]]
    )
    def test_what_is_incomplete_goes_on(self, bench, names):
        bench.do({"num_row": [1, 2]})
        for name in names:
            (bench.trials()[0] / name).unlink()
        _, pool = bench.do({"num_row": [1, 2]})
        assert len(pool.started) == 1 and not pool.started[0].restart
        assert [row["state"] for row in bench.table()] == ["done"] * 2


class TestLooking:
    def test_writes_nothing(self, bench, tmp_path):
        bench.data = write_clicks(tmp_path / "data")
        before = bench.files()
        sweep = look_at_sweep(bench.space(EIGHT), bench.folder, SweepData(bench.data), Options())
        assert (len(sweep.rows), sweep.to_do) == (8, 8)
        assert {k: v for k, v in bench.files().items() if k in before} == before
        assert set(bench.files()) - set(before) == {str(tmp_path / "tuner.yaml")}

    def test_shows_how_trials_stand(self, bench):
        bench.do({"num_row": [1, 2, 3]}, FakePool(fails=fails))
        sweep = look_at_sweep(
            bench.space({"num_row": [1, 2, 3, 4]}), bench.folder, SweepData(bench.data), Options()
        )
        assert [row.standing.state for row in sweep.rows.values()] == ["done", "failed", "failed", "new"]
        assert sweep.to_do == 1
