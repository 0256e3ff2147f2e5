"""MMCTR's way of writing a dataset with an item table: max_len is a key of the experiment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.config import load_experiment
from fuxictr_qnn.errors import RequestError

MODEL = """
Base: {{learning_rate: 1e-3, embedding_dim: 4}}
A: {{model: LR, dataset_id: shop{max_len}}}
"""
DATASET = """
shop:
  data_format: parquet
  rebuild_dataset: False
  train_data: shop/train.parquet
  valid_data: shop/valid.parquet
  {item_info}
  feature_cols:
    - {{name: [user_id, item_seq], active: True, dtype: int, type: meta{own}}}
    - {{name: item_id, active: True, dtype: int, type: categorical, source: item, vocab_size: 9}}
  label_col: {{name: label, dtype: float}}
"""
TABLE = "item_info: shop/item_info.parquet"


def write(folder: Path, max_len: str = "", item_info: str = TABLE, own: str = "") -> Path:
    (folder / "model_config.yaml").write_text(MODEL.format(max_len=max_len))
    dataset = DATASET.format(item_info=item_info, own="")
    if own:
        dataset = dataset.replace("[user_id, item_seq], active: True, dtype: int, type: meta", own)
    (folder / "dataset_config.yaml").write_text(dataset)
    return folder


def lengths(loaded) -> dict[str, int]:
    return {column.name: column.max_len for column in loaded.experiment.dataset.feature_cols}


def test_max_len_of_the_experiment_is_the_historys(tmp_path):
    loaded = load_experiment("A", write(tmp_path, max_len=", max_len: 64"))
    assert lengths(loaded) == {"user_id": 0, "item_seq": 64, "item_id": 0}
    assert loaded.experiment.dataset.item_info == "shop/item_info.parquet"
    assert any("max_len -> max_len of column item_seq" in note for note in loaded.notes)


@pytest.mark.parametrize(("overrides", "length"), [((), 20), (("max_len=8",), 8)])
def test_the_columns_own_max_len_is_stronger_than_the_files_key_but_not_than_set(tmp_path, overrides, length):
    own = "item_seq, dtype: int, type: meta, max_len: 20"
    folder = write(tmp_path, max_len=", max_len: 64", own=own)
    assert lengths(load_experiment("A", folder, overrides))["item_seq"] == length


def test_where_the_files_lie_does_not_name_the_run(tmp_path):
    first = load_experiment("A", write(tmp_path, max_len=", max_len: 64")).experiment
    elsewhere = write(tmp_path, max_len=", max_len: 64", item_info="item_info: far/items.parquet")
    assert load_experiment("A", elsewhere).experiment.digest == first.digest


def test_without_an_item_table_max_len_is_no_key_of_the_dataset(tmp_path):
    with pytest.raises(RequestError, match="max_len = 64: LR has no such key"):
        load_experiment("A", write(tmp_path, max_len=", max_len: 64", item_info=""))
