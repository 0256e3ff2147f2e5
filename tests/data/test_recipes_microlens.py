"""MicroLens from the organisers' parquet files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.data import recipes
from fuxictr_qnn.data.items.table import find_item_files, read_item_table
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.errors import RequestError

ITEMS = 6  # with the padding


def raw_files(folder: Path, **changes: pl.DataFrame | None) -> Path:
    rows = pl.DataFrame(
        {
            "user_id": [1, 2],
            "item_seq": [[0, 1], [2, 3]],
            "item_id": [4, 5],
            "likes_level": [1, 2],
            "views_level": [3, 4],
        }
    )
    order = [3, 0, 5, 1, 4, 2]
    files = {
        "train": rows.with_columns(label=pl.Series([1, 0])),
        "valid": rows.with_columns(label=pl.Series([1, 1])),
        "test": rows,
        "item_info": pl.DataFrame(
            {
                "item_id": order,
                "item_tags": [[0, item] for item in order],
                "item_emb_d128": [[item / 2, 0.0] for item in order],
            }
        ),
        "item_feature": pl.DataFrame(
            {
                "item_id": [5, 4, 3, 2, 1],
                "likes_level": [10, 8, 6, 4, 2],
                "views_level": [9, 7, 5, 3, 1],
                "title": list("edcba"),
            }
        ),
    }
    folder.mkdir()
    for name, frame in (files | changes).items():
        if frame is not None:
            frame.write_parquet(folder / f"{name}.parquet")
    return folder


def quiet(line: str) -> None:
    pass


def test_items_in_order_and_their_levels_beside_them(tmp_path):
    raw, log = raw_files(tmp_path / "raw"), []
    made = recipes.prepare("microlens_1m_x1_levels", raw, tmp_path / "data", log.append)
    info = pl.read_parquet(made["item_info.parquet"])
    assert info["item_id"].to_list() == list(range(ITEMS))
    assert info["item_tags"].to_list() == [[0, item] for item in range(ITEMS)]
    assert info.columns == ["item_id", "item_tags", "item_emb_d128"]  # a run joins the levels
    feature = pl.read_parquet(made["item_feature.parquet"])
    assert feature.to_dict(as_series=False) == {
        "item_id": [1, 2, 3, 4, 5],
        "likes_level": [2, 4, 6, 8, 10],
        "views_level": [1, 3, 5, 7, 9],
    }
    for split in ("train", "valid", "test"):
        assert made[f"{split}.parquet"].read_bytes() == (raw / f"{split}.parquet").read_bytes()
    assert any("train.parquet: 2 rows, 50.00 % positive" in line for line in log)
    assert any(line.endswith("test.parquet: 2 rows") for line in log)


def test_without_levels_and_test(tmp_path):
    raw = raw_files(tmp_path / "raw", test=None, item_feature=None)
    made = recipes.prepare("microlens_1m_x1", raw, tmp_path / "data", quiet)
    assert sorted(made) == ["item_info.parquet", "train.parquet", "valid.parquet"]
    assert pl.read_parquet(made["item_info.parquet"])["item_id"].is_sorted()
    with pytest.raises(RequestError, match="lacks item_feature.parquet"):
        recipes.prepare("microlens_1m_x1_levels", raw, tmp_path / "data", quiet, force=True)


def test_levels_that_are_there_no_more_go_with_force(tmp_path):
    recipes.prepare("microlens_1m_x1", raw_files(tmp_path / "raw"), tmp_path / "data", quiet)
    (tmp_path / "raw" / "item_feature.parquet").unlink()
    recipes.prepare("microlens_1m_x1", tmp_path / "raw", tmp_path / "data", quiet, force=True)
    assert not (tmp_path / "data" / "item_feature.parquet").exists()


def test_a_run_reads_the_levels_of_both_parquet_files(tmp_path):
    """The shipped config joins what the recipe leaves beside each other."""
    raw = raw_files(tmp_path / "raw")
    spec = load_dataset("microlens_1m_x1_levels").spec
    recipes.prepare_dataset(spec, tmp_path, raw, quiet)
    columns = [
        column.model_copy(update={"pretrain_dim": 2} if column.type == "embedding" else {})
        for column in spec.feature_cols
    ]
    spec = spec.model_copy(update={"feature_cols": columns})
    table = read_item_table(spec, find_item_files(spec, Places(tmp_path)))
    assert table.columns["likes_level"].tolist() == [0, 2, 4, 6, 8, 10]
    assert table.columns["views_level"].tolist() == [0, 1, 3, 5, 7, 9]


def info(**columns) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": [0, 1], "item_tags": [[0], [1]], "item_emb_d128": [[0.0], [1.0]]} | columns
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": info()}, "train.parquet' lacks the columns user_id, item_seq, .*needed is MicroLens"),
        ({"item_info": pl.DataFrame({"item_id": [1]})}, "lacks the columns item_tags, item_emb_d128"),
        ({"item_info": info(item_id=[1, 1])}, "item_info.parquet' .*1"),
        ({"item_info": info(item_id=["a", "b"])}, "item ids are integers"),
    ],
)
def test_other_files(tmp_path, changes, message):
    with pytest.raises(RequestError, match=message):
        recipes.prepare("microlens_1m_x1", raw_files(tmp_path / "raw", **changes), tmp_path / "data", quiet)
    assert not (tmp_path / "data").exists()


def test_no_parquet(tmp_path):
    raw = raw_files(tmp_path / "raw")
    (raw / "valid.parquet").write_text("user_id,item_id")
    with pytest.raises(RequestError, match="valid.parquet' is no parquet file"):
        recipes.prepare("microlens_1m_x1", raw, tmp_path / "data", quiet)
