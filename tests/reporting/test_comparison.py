"""The protocol: who is compared with whom, and what counts as better."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting.comparison import choose_comparator, compare_entries
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.statistics import detectable_difference, pooled_sd
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.runs.run import FailedRun
from tests.reporting.made_runs import make_entries, make_run

SKILLS = {"QNNalpha_shop": 0.9, "DCNv2_shop": 0.6, "DNN_shop": 0.5999, "LR_shop": 0.2}


@pytest.fixture
def entries(tmp_path):
    return make_entries(tmp_path, SKILLS)


def test_ranks_differences_and_ties(entries):
    found = compare_entries(entries, repeats=300)
    assert [entry.label for entry in found.entries] == list(SKILLS)
    assert found.comparator.label == "DCNv2_shop"
    assert set(found.differences) == {"QNNalpha_shop", "DNN_shop", "LR_shop"}
    verdicts = {label: gap.verdict for label, gap in found.differences.items()}
    assert verdicts == {"QNNalpha_shop": "better", "DNN_shop": "tie", "LR_shop": "worse"}
    assert found.best == {"QNNalpha_shop"} and found.clusters == "rows"


def test_numbers_are_those_of_the_tests_on_the_same_values(entries):
    found = compare_entries(entries, repeats=300)
    by_label = {entry.label: entry for entry in entries}
    gap, others = found.differences["LR_shop"], [e for e in entries if e.label != "DCNv2_shop"]
    base = by_label["DCNv2_shop"].values("test", "AUC")
    tests = {e.label: stats.ttest_ind(e.values("test", "AUC"), base, equal_var=False) for e in others}
    assert gap.value == pytest.approx(np.mean(by_label["LR_shop"].values("test", "AUC")) - np.mean(base))
    assert gap.seeds.p == pytest.approx(tests["LR_shop"].pvalue)
    ranked = sorted(test.pvalue for test in tests.values())
    smallest = min(found.differences.values(), key=lambda g: g.seeds.p)
    assert smallest.p == pytest.approx(min(1, 3 * ranked[0]))
    assert gap.rows[0] < gap.value < gap.rows[1]


def test_the_interval_over_rows_is_of_the_mean_over_seeds(entries):
    """One resample by hand: all seeds of both sides on the same rows."""
    found = compare_entries(entries, repeats=1)
    drawn = np.random.default_rng(2019).integers(400, size=400)

    def mean(label: str) -> float:
        runs = next(entry for entry in entries if entry.label == label).runs
        scores = [run.scores() for run in runs]
        return np.mean([roc_auc_score(s.y_true[drawn], s.y_pred[drawn]) for s in scores])

    expected = mean("LR_shop") - mean("DCNv2_shop")
    assert found.differences["LR_shop"].rows == pytest.approx((expected, expected))


def test_models_that_differ_by_luck_tie_and_are_all_best(tmp_path):
    found = compare_entries(make_entries(tmp_path, {"QNNalpha_shop": 0.6, "DNN_shop": 0.6001}), repeats=100)
    assert {gap.verdict for gap in found.differences.values()} == {"tie"}
    assert found.best == {"QNNalpha_shop", "DNN_shop"}
    assert list(found.detectable) == [3] and 0 < found.detectable[3] < 0.1


def test_what_the_comparator_beats_is_not_among_the_best(tmp_path):
    """The best mean is of a model whose seeds differ so much that it beats nobody."""
    for seed, skill in zip((1, 2, 3), (0.55, 0.9, 1.4), strict=True):
        make_run(tmp_path, "QNNalpha_shop", seed, skill, model="QNNalpha")
        make_run(tmp_path, "DCNv2_shop", seed, 0.7, model="DCNv2")
        make_run(tmp_path, "LR_shop", seed, 0.5, model="LR")
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    found = compare_entries(entries, repeats=300)
    assert [entry.label for entry in found.entries] == ["QNNalpha_shop", "DCNv2_shop", "LR_shop"]
    assert {label: gap.verdict for label, gap in found.differences.items()} == {
        "QNNalpha_shop": "tie",
        "LR_shop": "worse",
    }
    assert found.best == {"QNNalpha_shop", "DCNv2_shop"}


def test_a_difference_that_can_be_seen_is_named_for_each_number_of_seeds_that_is_shared(tmp_path):
    """5 and 3 seeds against 5: what 3 seeds show is not what the row with 5 shows."""
    for seed in range(1, 6):
        make_run(tmp_path, "QNNalpha_shop", seed, 0.9, model="QNNalpha")
        make_run(tmp_path, "DNN_shop", seed, 0.6)
    entries = make_entries(tmp_path, {"LR_shop": 0.2})
    found = compare_entries(entries, repeats=20)
    assert found.comparator.label == "DNN_shop" and list(found.detectable) == [3, 5]
    sd = pooled_sd([entry.values("test", "AUC") for entry in entries])
    assert found.detectable == pytest.approx({n: detectable_difference(sd, n, tests=2) for n in (3, 5)})
    against_three = compare_entries(entries, "LR_shop", repeats=20)
    assert list(against_three.detectable) == [3]


def test_rows_of_a_user_are_drawn_together(tmp_path):
    found = compare_entries(
        make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, groups=True), repeats=50
    )
    assert found.clusters == "users"


@pytest.mark.parametrize("first", ["DNN_shop", "FM_shop"])
def test_users_are_drawn_whichever_row_ranks_first_and_names_none(tmp_path, first):
    for name in ("DNN_shop", "FM_shop"):
        for seed in (1, 2, 3):
            skill = 0.9 if name == first else 0.6
            make_run(tmp_path, name, seed, skill, groups=name == "DNN_shop")
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    found = compare_entries(entries, repeats=20)
    assert found.entries[0].label == first and found.clusters == "users"


def test_other_users_of_the_same_rows_are_not_compared_row_by_row(tmp_path):
    entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, groups=True)
    file = entries[1].runs[2].folder / "test_scores.parquet"
    table = pl.read_parquet(file)
    table.with_columns(group=pl.col("group") + 7).write_parquet(file)
    assert compare_entries(entries, repeats=20).clusters == "users"  # other ids of the same users
    table.with_columns(group=pl.col("group") // 2).write_parquet(file)
    found = compare_entries(entries, repeats=20)
    assert f"the users of the test rows of '{file.parent}' are others" in found.notes[0]
    assert {gap.verdict for gap in found.differences.values()} == {"undecided"}


def test_the_comparator_is_chosen_on_validation_among_the_baselines(tmp_path):
    for seed in (1, 2, 3):
        make_run(tmp_path, "QNNalpha_shop", seed, 0.9, model="QNNalpha", valid=0.99)
        make_run(tmp_path, "DNN_shop", seed, 0.7, model="DNN", valid=0.7)
        make_run(tmp_path, "FM_shop", seed, 0.5, model="FM", valid=0.8)  # the worse one on test
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs, recipes=()).items()
    assert choose_comparator(entries).label == "FM_shop"
    assert compare_entries(entries, "DNN_shop", repeats=20).comparator.label == "DNN_shop"
    ours = [entry for entry in entries if not entry.is_baseline]
    assert choose_comparator(ours).label == "QNNalpha_shop" and choose_comparator([]) is None


def test_a_published_recipe_is_outside_ranking_and_tests(tmp_path):
    for seed in (1, 2, 3):
        make_run(tmp_path, "QNNalpha_shop", seed, 0.8, model="QNNalpha")
        make_run(tmp_path, "DNN_shop", seed, 0.6)
        make_run(tmp_path, "FM_shop", seed, 2.0, model="FM")
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs, recipes=["FM_shop"]).items()
    found = compare_entries(entries, repeats=50)
    assert [entry.label for entry in found.entries] == ["QNNalpha_shop", "DNN_shop", "FM_shop"]
    assert found.comparator.label == "DNN_shop" and "FM_shop" not in found.differences
    assert found.best == {"QNNalpha_shop"} and found.notes == []


class TestTooLittle:
    def test_fewer_seeds_than_a_test_needs(self, tmp_path):
        found = compare_entries(make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, seeds=2))
        assert not found.differences and not found.best and not found.detectable
        assert found.notes == ["Outside the tests, which need 3 seeds: QNNalpha_shop, DNN_shop"]
        assert found.untested == "they take two models with at least 3 seeds each"

    def test_a_request_for_significance_is_refused(self, tmp_path):
        entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, seeds=2)
        with pytest.raises(RequestError) as caught:
            compare_entries(entries, significance=True)
        assert len(caught.value.problems) == 2
        assert (
            "QNNalpha_shop: 2 seeds with a test AUC, and a significance test needs 3"
            in caught.value.problems[0]
        )

    def test_one_row_with_fewer_seeds_keeps_its_rank_and_takes_no_part(self, tmp_path):
        make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6})
        make_run(tmp_path, "PNN_shop", 1, 1.5, model="PNN")
        ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
        found = compare_entries(entries, repeats=50)
        assert found.entries[0].label == "PNN_shop" and found.best == {"QNNalpha_shop"}
        assert found.notes == ["Outside the tests, which need 3 seeds: PNN_shop"]

    def test_a_comparator_with_too_few_seeds_is_named_as_the_reason(self, tmp_path):
        """As `compare` fixes it before test is read, with a seed that failed."""
        make_entries(tmp_path, {"QNNalpha_shop": 0.9, "LR_shop": 0.2})
        for seed in (1, 3):
            digest = make_run(tmp_path, "DNN_shop", seed).parent.name.removeprefix("DNN_shop-")
        runs = find_runs([tmp_path]).runs
        failed = [FailedRun("DNN_shop", digest, None, 2, "not finite")]
        ((_, entries),) = entries_by_data(runs, failed=failed).items()
        found = compare_entries(entries, "DNN_shop")
        assert not found.differences and not found.best
        assert found.untested == (
            "the comparator DNN_shop has only 2 seeds with a test AUC, and tests need 3; "
            "--seeds 4 gives every model the seeds 1 to 4"
        )
        ((_, entries),) = entries_by_data(runs).items()  # seeds 1 and 3: nobody says what was tried
        assert compare_entries(entries, "DNN_shop").untested.endswith("and tests need 3")

    def test_a_recipe_as_comparator_is_named_as_the_reason(self, tmp_path):
        make_entries(tmp_path, {"QNNalpha_shop": 0.9, "LR_shop": 0.2, "DNN_shop": 0.6})
        ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs, recipes=["DNN_shop"]).items()
        assert "DNN_shop is a recipe" in compare_entries(entries, "DNN_shop").untested

    def test_without_scores_there_is_a_note_and_nothing_is_decided(self, tmp_path):
        entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6})
        (entries[0].runs[1].folder / "test_scores.parquet").unlink()
        found = compare_entries(entries)
        (gap,) = found.differences.values()
        assert gap.rows is None and gap.verdict == "undecided" and found.clusters is None
        assert "has no test_scores.parquet" in found.notes[0] and found.best == frozenset()

    def test_other_test_labels_are_not_compared_row_by_row(self, tmp_path):
        entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6})
        file = entries[1].runs[2].folder / "test_scores.parquet"
        table = pl.read_parquet(file)
        table.with_columns(y_true=1 - pl.col("y_true")).write_parquet(file)
        found = compare_entries(entries)
        assert f"the test labels of '{file.parent}' are others" in found.notes[0]
        assert {gap.verdict for gap in found.differences.values()} == {"undecided"}


def test_an_unknown_comparator(entries):
    with pytest.raises(RequestError, match="comparator 'DCNv3_shop': no row.*Did you mean 'DCNv2_shop'"):
        compare_entries(entries, "DCNv3_shop")
