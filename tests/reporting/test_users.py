"""Whose rows the bootstrap draws together."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
import yaml

from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.data import Places, open_dataset
from fuxictr_qnn.data.checks import config_problems
from fuxictr_qnn.data.fingerprint import fingerprint
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.reporting.comparison import compare_entries
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.users import Users, users_of
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.training.metrics import auc
from tests.reporting.made_runs import make_entries, make_run, scores_of

ROWS = 400  # as made_runs has them
SPLITS = {f"{split}_data": f"shop/{split}.csv" for split in ("train", "valid", "test")}
DATASET = {
    **SPLITS,
    "min_categr_count": 2,
    "feature_cols": [
        {"name": "user", "dtype": "str"},
        {"name": "session", "dtype": "int", "type": "meta", "remap": False},
    ],
    "label_col": [{"name": "label"}],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """(places, fingerprint, users and sessions of the test rows) of a build; training has users below 30."""
    root = tmp_path_factory.mktemp("data")
    (root / "shop").mkdir()
    label, _, users = scores_of(1.0, 1)
    session = users // 4 + 7
    for split in ("train", "valid", "test"):
        frame = pl.DataFrame({"label": label.astype(int), "user": users, "session": session})
        frame = frame if split == "test" else frame.filter(pl.col("user") < 30)
        frame.write_csv(root / "shop" / f"{split}.csv")
    spec = DatasetSpec(dataset_id="shop", **DATASET)
    built = open_dataset(spec, Places(root), log=lambda text: None)
    return Places(root), built.fingerprint, users, session


def run_of(tmp_path, shop, **dataset):
    folder = make_run(tmp_path, "DNN_shop", 1, fingerprint=shop[1], dataset=DATASET | dataset)
    return find_runs([folder]).runs[0], folder


def test_users_are_those_of_the_raw_rows(tmp_path, shop):
    places, _, raw, session = shop
    users = users_of([run_of(tmp_path, shop, user_col="user")[0]], places)
    known = raw < 30
    pairs = set(zip(raw[known], users.numbers[known], strict=True))
    assert len(pairs) == len(set(raw[known])) == len(set(users.numbers[known]))
    assert len(set(users.numbers[~known])) == (~known).sum()  # nobody knows which of them are one user's
    assert set(users.numbers) == set(range(users.numbers.max() + 1))
    assert f"{(~known).sum()} of 400 test rows are of users without an id" in users.note
    sessions = users_of([run_of(tmp_path / "meta", shop, user_col="session")[0]], places)
    assert (sessions.numbers == session - session.min()).all() and sessions.note == ""


def test_the_bootstrap_draws_them_with_all_their_rows(tmp_path, shop):
    """One resample by hand."""
    places, fingerprint, *_, session = shop
    options = {"fingerprint": fingerprint, "dataset": DATASET | {"user_col": "session"}}
    entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, **options)
    found = compare_entries(entries, repeats=1, users_of=partial(users_of, places=places))
    assert found.clusters == "users" and not found.notes
    of_users = [np.flatnonzero(session == name) for name in np.unique(session)]
    drawn = np.random.default_rng(2019).integers(len(of_users), size=len(of_users))
    rows = np.concatenate([of_users[number] for number in drawn])

    def mean(entry):
        scores = [run.scores() for run in entry.runs]
        return np.mean([auc(each.y_true[rows], each.y_pred[rows]) for each in scores])

    gap = mean(entries[0]) - mean(entries[1])
    gap = gap if entries[0].label == "QNNalpha_shop" else -gap
    low, high = found.differences["QNNalpha_shop"].rows
    assert low == high == pytest.approx(gap)


def test_without_the_build_rows_are_drawn_and_the_table_says_so(tmp_path, shop):
    options = {"fingerprint": shop[1], "dataset": DATASET | {"user_col": "user"}}
    entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6}, **options)
    found = compare_entries(entries, repeats=5, users_of=partial(users_of, places=Places(tmp_path)))
    assert found.clusters == "rows"
    assert "drawn one by one, not by user" in found.notes[0] and "--build-dir" in found.notes[0]


def test_users_of_other_rows_decide_nothing(tmp_path, shop):
    entries = make_entries(tmp_path, {"QNNalpha_shop": 0.9, "DNN_shop": 0.6})
    few = users_of([run_of(tmp_path / "x", shop, user_col="session")[0]], shop[0])
    few = type(few)(few.numbers[:-1])
    found = compare_entries(entries, repeats=5, users_of=lambda runs: few)
    assert found.clusters is None and "400 test rows have scores, and the users of 399" in found.notes[0]


def test_no_user_col_no_users(tmp_path, shop):
    assert users_of([run_of(tmp_path, shop)[0]], shop[0]).numbers is None


def from_before(folder):
    """A run of a version that knew no user_col."""
    file = folder / "config.yaml"
    config = yaml.safe_load(file.read_text())
    del config["experiment"]["dataset"]["user_col"]
    file.write_text(yaml.safe_dump(config))
    return find_runs([folder]).runs[0]


@pytest.mark.parametrize(
    ("dataset_id", "column"), [("frappe_x1", "user"), ("ml_1m_x1", "UserID"), ("criteo_x4", None)]
)
def test_runs_from_before_user_col_have_that_of_their_dataset(tmp_path, dataset_id, column):
    columns = {"feature_cols": [{"name": column or "C1"}], **SPLITS}
    run = from_before(make_run(tmp_path, "DNN_x", 1, dataset_id=dataset_id, dataset=columns))
    found = users_of([run], Places(tmp_path))
    assert found.numbers is None and (f"not by {column}" in found.note if column else found.note == "")


@pytest.mark.parametrize(
    "own",
    [
        {"feature_cols": [{"name": "visitor"}]},  # other columns
        {"feature_cols": [{"name": "user", "active": False}, {"name": "item"}]},
        {"feature_cols": [{"name": "user"}], "rebuild_dataset": False},  # ids already
    ],
)
def test_a_dataset_of_ones_own_may_have_an_installed_name(tmp_path, own):
    run = from_before(make_run(tmp_path, "DNN_x", 1, dataset_id="frappe_x1", dataset=SPLITS | own))
    assert users_of([run], Places(tmp_path)) == Users()


def test_a_run_that_says_none_has_none(tmp_path):
    columns = {"feature_cols": [{"name": "user"}], **SPLITS}
    folder = make_run(tmp_path, "DNN_x", 1, dataset_id="frappe_x1", dataset=columns)
    assert users_of(find_runs([folder]).runs, Places(tmp_path)) == Users()


@pytest.mark.parametrize("first", ["DNN_shop", "FM_shop"])
def test_whichever_row_ranks_first_and_names_none(tmp_path, shop, first):
    for name in ("DNN_shop", "FM_shop"):
        dataset = DATASET | ({"user_col": "session"} if name == "DNN_shop" else {})
        for seed in (1, 2, 3):
            skill = 0.9 if name == first else 0.6
            make_run(tmp_path, name, seed, skill, fingerprint=shop[1], dataset=dataset)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    found = compare_entries(entries, repeats=5, users_of=partial(users_of, places=shop[0]))
    assert found.entries[0].label == first and found.clusters == "users"


def test_it_names_no_run_and_no_build(tmp_path):
    """Run folders and builds from before it are found again."""
    names = [
        make_run(tmp_path / str(col), "DNN_shop", 1, dataset={"user_col": col}) for col in (None, "user")
    ]
    assert names[0].parent.name == names[1].parent.name
    specs = [DatasetSpec(dataset_id="shop", user_col=col, **DATASET) for col in (None, "user")]
    assert fingerprint(specs[0], {}) == fingerprint(specs[1], {})
    assert find_runs([names[1]]).runs[0].experiment["dataset"]["user_col"] == "user"


def test_group_id_and_encoded_data_go_with_it():
    """So both can be set on an installed dataset that names its users."""
    for keys in ({"group_id": "user"}, {"rebuild_dataset": False}):
        assert not config_problems(DatasetSpec(dataset_id="shop", user_col="user", **DATASET | keys))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"name": "usr"}, "Did you mean 'usr'"),
        ({"name": "user", "active": False}, "is no active column"),
        ({"name": "user", "category_processor": "hash_bucket", "num_buckets": 9}, "without buckets"),
        ({"name": "user", "type": "meta"}, "or meta with remap: false"),
        ({"name": "user", "type": "sequence", "max_len": 2}, "of type categorical"),
    ],
)
def test_what_it_cannot_be(column, said):
    spec = DatasetSpec(dataset_id="shop", user_col="user", **DATASET | {"feature_cols": [column]})
    assert any("user_col 'user'" in problem and said in problem for problem in config_problems(spec))


def test_installed_datasets_name_a_column_that_they_have():
    for name in ("demo", "frappe_x1", "ml_1m_x1", "ml_100k", "movielenslatest_x1", "tenrec_x1", "kkbox_x1"):
        spec = load_dataset(name).spec
        assert spec.user_col in [column.name for column in spec.active_columns]


def test_several_columns_of_users(tmp_path, shop):
    """Which of them is asked must not hang on who came first."""
    one = run_of(tmp_path / "a", shop, user_col="user")[0]
    other = run_of(tmp_path / "b", shop, user_col="session")[0]
    for runs in ([one, other], [other, one]):
        users = users_of(runs, shop[0])
        assert users.numbers is None and "several columns of users (session, user)" in users.note
