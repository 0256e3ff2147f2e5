"""What a plan counts as done and as left. Without processes and training."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from fuxictr_qnn.comparing.budget import Rate, numbers_within
from fuxictr_qnn.comparing.planning import Plan, Stopwatch, make_plan
from fuxictr_qnn.tuning.data import SweepData
from tests.comparing.made_pool import Killed, MadePool


def rates(entrants) -> dict[str, Rate]:
    return {one.label: Rate(one.label, one.recipe, 1.0, 0.1, 3, 2.0, True) for one in entrants}


def plan_of(bench, **changes) -> Plan:
    prepared = bench.prepare(**changes)
    return make_plan(prepared, rates(prepared.entrants), bench.folder, workers=1)


def lines(plan: Plan) -> dict[str, tuple[int, int, int]]:
    """label -> trials, seeds and runs that are left; additional seeds of whoever is chosen left out."""
    return {line.rate.label: (line.trials, line.seeds, line.left) for line in plan.lines if not line.what}


def test_before_anything_is_done(bench):
    plan = plan_of(bench, more_seeds=5)
    assert set(lines(plan).values()) == {(2, 3, 5)} and len(plan.lines) == 3 + 2
    assert plan.scorings == 3 * 3 + 2 * 2 and plan.expected == pytest.approx((15 + 4) * 2 * 1.1)


def test_nothing_is_left_of_a_comparison_with_failures_and_more_seeds(bench):
    def fails(experiment, seed):
        trial = seed == 2024 and experiment.fit.learning_rate == 0.01
        return "not finite" if experiment.model == "QNNalpha" and (seed == 2 or trial) else None

    bench.do(MadePool(fails), more_seeds=5)
    plan = plan_of(bench)
    assert lines(plan) == {"LR_clicks": (2, 3, 0), "DNN_clicks": (2, 5, 0), "QNNalpha_clicks": (2, 5, 0)}
    assert plan.expected == 0 and plan.scorings == len(bench.folder.scorings) + 1  # of the failed seed


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_a_model_of_which_there_are_fewer_different_trials(bench, search):
    if search == "tpe":
        pytest.importorskip("optuna")
    bench.do(trials=6, search=search)
    plan = plan_of(bench, trials=6, search=search)
    assert lines(plan)["LR_clicks"] == (4, 3, 0) and plan.expected == 0


def test_a_part_is_done(bench):
    pool = MadePool(die_after=40)
    with pytest.raises(Killed):
        bench.do(pool)
    left = sum(line.left for line in plan_of(bench).lines)
    assert 6 < len(pool.log) < 15 and left == 15 - len(pool.log)


def test_a_recipe_is_no_final_run_of_its_tuned_namesake(bench):
    with pytest.raises(Killed):
        bench.do(MadePool(die_after=0), recipes=("DNN_clicks",))
    prepared = bench.prepare(recipes=("DNN_clicks",))
    digest = next(one for one in prepared.entrants if one.recipe).base.digest
    run = bench.folder.runs / f"DNN_clicks-{digest}" / "seed1"
    run.mkdir(parents=True)
    record = {"valid": {"AUC": 0.7}, "config_digest": digest, "epochs": 2}
    (run / "metrics.json").write_text(json.dumps(record))
    found = lines(plan_of(bench, recipes=("DNN_clicks",)))
    assert found["DNN_clicks"] == (2, 3, 5) and found["DNN_clicks recipe"] == (0, 1, 0)


def test_more_seeds_than_a_budget_chose(bench):
    def choose(entrants, fingerprint, trials, seeds):
        return numbers_within(1e9, list(rates(entrants).values()), 1, more_seeds=5)

    prepared = bench.prepare(choose_numbers=choose, more_seeds=5, trials=None)
    plan = make_plan(prepared, rates(prepared.entrants), bench.folder, 1)
    assert prepared.terms.seeds == 10 and plan.scorings == 30
    assert all(line.seeds == 10 for line in plan.lines)


def test_final_runs_take_what_the_best_trial_took(bench):
    """Once every trial is done: before, what is left may be any of them."""
    prepared, timed = bench.prepare(), Counter()

    def log_timing(line):
        timed.update(re.findall(r"s an epoch: (\w+), learning_rate=", line))

    def expected(pool):
        watch = Stopwatch(bench.folder, SweepData(bench.data), pool, "cpu", log=log_timing)
        terms = bench.prepare().terms
        return watch.rates(prepared.entrants, terms.data_fingerprint, terms.trials)["DNN_clicks"]

    rate = expected(MadePool())
    assert timed["DNN_clicks"] == 2 and rate.train == 2.0 and not rate.known
    bench.do()
    (best,) = bench.folder.path.glob("tune/DNN_clicks/data-*/DNN_clicks-*/seed2024/model.pt")  # keep=1
    record = json.loads((best.parent / "metrics.json").read_text())
    (best.parent / "metrics.json").write_text(json.dumps(record | {"epochs": 7}))
    for run in bench.folder.runs.glob("DNN_clicks-*/seed*/metrics.json"):
        assert json.loads(run.read_text())["config_digest"] == record["config_digest"]
        run.write_text(json.dumps(json.loads(run.read_text()) | {"epochs": 7}))
    timings = bench.folder.timings
    slow = {
        name: found | {"train": 9.0} for name, found in timings.items() if record["config_digest"] in name
    }
    assert len(slow) == 1
    bench.folder.write_timings(timings | slow)
    rate = expected(None)  # nothing is timed again
    assert (rate.train, rate.evaluate, rate.epochs, rate.known) == (9.0, 0.5, 7.0, True)
