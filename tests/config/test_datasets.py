"""The shipped dataset configs and expids: they load, name what is there, and hold the published facts."""

from __future__ import annotations

import json

import polars as pl
import pytest

from fuxictr_qnn.config import list_expids
from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.config.sources import read_datasets
from fuxictr_qnn.data.building.functions import FUNCTIONS
from fuxictr_qnn.data.open import open_dataset
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.recipes import RECIPES

DATASETS = sorted(read_datasets())
BENCHMARKS = (
    "criteo_x4 frappe_x1 ml_1m_x1 kkbox_x1 kkbox_x1_parity ipinyou_x1 ipinyou_x1_parity tenrec_x1 avazu_x4 "
    "movielenslatest_x1 microlens_1m_x1 microlens_1m_x1_levels ml1m_next"
).split()
# "#Features" of the paper: ids of all features on the authors' splits.
PUBLISHED_IDS = {
    "criteo_x4": 910_747,
    "tenrec_x1": 3_404_996,
    "frappe_x1": 5_383,
    "ipinyou_x1_parity": 665_765,
    "kkbox_x1_parity": 91_756,
    "ml_1m_x1": 9_751 + 2,  # two films more on our split
}
# "#Instances" of the paper.
PUBLISHED_ROWS = {
    "criteo_x4": 45_840_617,
    "tenrec_x1": 120_342_306,
    "ml_1m_x1": 739_012,
    "frappe_x1": 288_609,
    "kkbox_x1": 7_377_418,
    "ipinyou_x1": 19_495_974,
}


@pytest.mark.parametrize("dataset_id", DATASETS)
def test_every_dataset_loads(dataset_id):
    spec = load_dataset(dataset_id).spec
    assert spec.train_data and spec.active_columns and spec.label_col
    functions = {column.preprocess.partition("(")[0] for column in spec.feature_cols if column.preprocess}
    assert functions <= set(FUNCTIONS)
    if spec.expected:
        assert set(spec.expected.vocabulary) <= {c.name for c in spec.active_columns if c.has_vocabulary}
        assert set(spec.expected.rows) | set(spec.expected.positive_rate) <= set(spec.split_names)
    if spec.origin and spec.origin.recipe:
        assert spec.origin.recipe in RECIPES
    if spec.origin:
        assert spec.origin.home.startswith("https://") and (spec.origin.sources or spec.origin.by_hand)


def test_every_benchmark_has_an_origin_and_facts():
    specs = [load_dataset(dataset_id).spec for dataset_id in BENCHMARKS]
    assert [spec.dataset_id for spec in specs if not (spec.origin and spec.expected)] == []


@pytest.mark.parametrize("dataset_id", PUBLISHED_IDS)
def test_vocabularies_add_up_to_the_published_totals(dataset_id):
    spec = load_dataset(dataset_id).spec
    assert list(spec.expected.vocabulary)[0] == spec.active_columns[0].name
    assert set(spec.expected.vocabulary) == {column.name for column in spec.active_columns}
    assert sum(spec.expected.vocabulary.values()) == PUBLISHED_IDS[dataset_id]


@pytest.mark.parametrize("dataset_id", PUBLISHED_ROWS)
def test_rows_add_up_to_the_published_totals(dataset_id):
    assert sum(load_dataset(dataset_id).spec.expected.rows.values()) == PUBLISHED_ROWS[dataset_id]


def test_parity_on_ipinyou_validates_on_the_test_file():
    spec = load_dataset("ipinyou_x1_parity").spec
    assert spec.valid_data == spec.test_data
    assert (
        sum(load_dataset("ipinyou_x1_parity").spec.expected.rows[split] for split in ("train", "test"))
        == 19_495_974
    )
    assert len(set(load_dataset("ipinyou_x1").spec.split_paths.values())) == 3


def test_every_expid_names_a_dataset():
    strangers = [row.expid for row in list_expids() if row.dataset_id not in DATASETS]
    assert strangers == []  # and that expids are unique is what reading them checks


def test_every_benchmark_has_an_experiment():
    expids = list_expids()
    models = {name: {row.model for row in expids if row.dataset_id == name} for name in BENCHMARKS}
    without = [name for name, known in models.items() if not known & {"QNNalpha", "QIN"}]
    assert without == []
    assert {"QNNalpha_DCNv2", "QNNalpha_DeepFM", "QNNalpha_xDeepFM"} <= models["ipinyou_x1"]


@pytest.fixture(scope="module")
def kkbox(tmp_path_factory) -> dict[str, tuple[dict, pl.DataFrame]]:
    """A few rows in both tokenisations: the vocabularies and the encoded rows."""
    data_root = tmp_path_factory.mktemp("kkbox")
    (data_root / "kkbox_x1").mkdir()
    names = [column.name for column in load_dataset("kkbox_x1").spec.active_columns]
    frame = {name: ["x"] * 12 for name in names} | {
        "genre_ids": ["465|458"] * 11 + [None],
        "artist_name": ["Ann Lee", "Bo"] * 5 + ["Bo|Ann Lee", "Cy"],
        "isrc": ["TWA530887303"] * 12,
        "bd": ["0", "17"] + ["33"] * 10,
        "label": [1, 0] * 6,
    }
    for split in ("train", "valid", "test"):
        pl.DataFrame(frame).write_csv(data_root / "kkbox_x1" / f"{split}.csv")
    found = {}
    for name in ("kkbox_x1", "kkbox_x1_parity"):
        spec = load_dataset(name).spec.model_copy(update={"min_categr_count": 1})
        built = open_dataset(spec, Places(data_root), log=lambda message: None)
        tokens = json.loads((built.folder / "feature_vocab.json").read_text())
        found[name] = tokens, pl.read_parquet(built.test)
    return found


def words(tokens: dict[str, int], cell: list[int]) -> list[str]:
    names = {number: token for token, number in tokens.items()}
    return [names[number] for number in cell]


def test_kkbox_splits_genres_and_keeps_names_whole(kkbox):
    tokens, rows = kkbox["kkbox_x1"]
    assert set(tokens["genre_ids"]) == {"__PAD__", "465", "458", "__OOV__"}
    assert words(tokens["genre_ids"], rows["genre_ids"][0]) == ["465", "458", "__PAD__"]
    assert words(tokens["artist_name"], rows["artist_name"][10]) == ["Bo", "Ann Lee", "__PAD__"]
    assert set(tokens["bd"]) == {"__PAD__", "2", "4", "__OOV__"} and "TW" in tokens["isrc"]


def test_kkbox_as_the_authors_runs_had_it(kkbox):
    tokens, rows = kkbox["kkbox_x1_parity"]
    assert set(tokens["genre_ids"]) == {"__PAD__", "465|458", "__OOV__"}
    assert "Ann Lee" in tokens["artist_name"] and "Ann" not in tokens["artist_name"]
    assert words(tokens["artist_name"], rows["artist_name"][0]) == ["__OOV__", "__OOV__", "__PAD__"]
    assert words(tokens["artist_name"], rows["artist_name"][1]) == ["Bo", "__PAD__", "__PAD__"]
