"""What a comparison has committed to, and what may still change."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.comparing.request import Request
from fuxictr_qnn.comparing.terms import Terms, check_change, numbers_of, read_terms, write_terms
from fuxictr_qnn.errors import RequestError

TERMS = Terms(
    dataset="clicks",
    data_fingerprint="f" * 16,
    tuned={"DNN_clicks": "DNN 12345678", "LR_clicks": "LR 87654321"},
    recipes={"FM_clicks": "FM 11111111"},
    sets=["epochs=3"],
    space={"shared": {"learning_rate": [1, 2]}},
    trials=4,
    seeds=3,
    more_seeds=5,
)


def problems(test_was_read: bool = False, **changes) -> list[str]:
    try:
        check_change(TERMS, TERMS.model_copy(update=changes), test_was_read, Path("folder"))
    except RequestError as error:
        return error.problems
    return []


@pytest.mark.parametrize("was_read", [False, True])
def test_the_same_request_and_more_seeds_may_go_on(was_read):
    assert problems(was_read) == [] and problems(was_read, seeds=9, more_seeds=10, recipe_seeds=3) == []
    assert problems(was_read, recipes={**TERMS.recipes, "PNN_clicks": "PNN 22222222"}) == []


def test_more_trials_only_until_a_test_split_was_read():
    assert problems(trials=8) == []
    (problem,) = problems(True, trials=8)
    assert "4 trials, whose test split was read" in problem and "--name" in problem


@pytest.mark.parametrize("was_read", [False, True])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "other"}, "on dataset clicks, and this is other"),
        ({"data_fingerprint": "0" * 16}, "other data (fingerprint ffffffffffffffff, now 0000000000000000)"),
        ({"tuned": {"DNN_clicks": "DNN 12345678"}}, "of DNN_clicks, LR_clicks, and this is DNN_clicks"),
        ({"tuned": {**TERMS.tuned, "FM_clicks": "FM 1"}}, "this is DNN_clicks, LR_clicks, FM_clicks"),
        ({"tuned": TERMS.tuned | {"LR_clicks": "LR 00000000"}}, "another config of LR_clicks"),
        ({"recipes": {}}, "with the recipes FM_clicks, and this is none"),
        ({"recipes": {"FM_clicks": "FM 2"}}, "another config of FM_clicks"),
        ({"space": {"shared": {"learning_rate": [1, 3]}}}, "searched another space"),
        ({"search": "tpe"}, "searched by random, and this is tpe"),
        ({"sets": []}, "with --set epochs=3, and this is none"),
        ({"seeds": 2}, "with --seeds 3, and 2 is less"),
        ({"more_seeds": None}, "with --more-seeds 5, and 0 is less"),
    ],
)
def test_what_makes_another_comparison(changes, said, was_read):
    found = problems(was_read, **changes)
    assert len(found) == 1 and said in found[0] and found[0].startswith("'folder' holds a comparison ")
    assert "--name NAME begins another" in found[0]


def test_how_nothing_was_searched_does_not_matter():
    untuned = TERMS.model_copy(update={"trials": 0})
    check_change(untuned, TERMS.model_copy(update={"search": "tpe"}), False, Path("folder"))


def test_fewer_trials_are_refused():
    assert "--trials 2 is less" in problems(trials=2)[0]


def test_every_change_is_named():
    assert len(problems(dataset="other", seeds=1, sets=[], tuned={})) == 4


def test_what_a_request_leaves_open_is_as_the_folder_says():
    by_models, by_expid = Request(dataset="d", models=("A",)), Request(expids=("A",))
    assert numbers_of(by_models, None) == (4, 3) and numbers_of(by_expid, None) == (0, 3)
    before = TERMS.model_copy(update={"trials": 7, "seeds": 5})
    assert numbers_of(by_models, before) == numbers_of(by_expid, before) == (7, 5)
    assert numbers_of(Request(trials=0, seeds=2), before) == (0, 2)


def test_terms_on_disk(tmp_path):
    file = tmp_path / "comparison.yaml"
    assert read_terms(file) is None
    write_terms(file, TERMS)
    assert read_terms(file) == TERMS
    file.write_text("dataset: clicks\n")
    with pytest.raises(RequestError, match="not as compare writes it"):
        read_terms(file)
