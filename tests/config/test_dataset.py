"""A dataset by its name: where it is looked for, and what is wrong with it, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.config import load_dataset
from fuxictr_qnn.config.sources import read_datasets
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.paths import shipped

OWN = """
Base: {{separator: ';'}}
own:
    train_data: own/train.csv
    valid_data: own/valid.csv
    feature_cols: [{{name: [user, item], na_value: x}}]
    label_col: {{name: label}}
    {more}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return _write(tmp_path, "batch_size: 10")


def _write(folder: Path, more: str) -> Path:
    (folder / "dataset_config.yaml").write_text(OWN.format(more=more))
    return folder


@pytest.mark.parametrize("dataset_id", sorted(read_datasets()))
def test_every_installed_dataset_is_valid(dataset_id: str) -> None:
    spec, config_dir = load_dataset(dataset_id)
    assert spec.dataset_id == dataset_id
    assert config_dir == shipped("data_configs")
    assert Path(spec.source).parent == config_dir


def test_own_dataset_has_its_base_and_todays_names(config: Path) -> None:
    spec, config_dir = load_dataset("own", config)
    assert (spec.separator, config_dir) == (";", config)
    assert [(column.name, column.fill_na) for column in spec.feature_cols] == [("user", "x"), ("item", "x")]


def test_a_config_directory_knows_the_installed_ones_too(config: Path) -> None:
    assert load_dataset("demo", config).spec.generator == "demo"


def test_a_file_stands_for_its_directory(config: Path) -> None:
    assert load_dataset("own", config / "dataset_config.yaml").spec.dataset_id == "own"


@pytest.mark.parametrize("where", [None, "config"])
def test_unknown_name(where: str | None, config: Path) -> None:
    with pytest.raises(RequestError, match="Did you mean 'frappe_x1'"):
        load_dataset("frape_x1", config if where else None)


def test_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such folder or file"):
        load_dataset("own", tmp_path / "nowhere")


def test_all_problems_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "min_categr_cuont: 2\n    data_format: cvs\n    net_dropout: 0.1")
    with pytest.raises(RequestError) as caught:
        load_dataset("own", tmp_path)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 2
    assert "unknown key min_categr_cuont. Did you mean 'min_categr_count'" in text
    assert "data_format = 'cvs'" in text


def test_facts_of_the_origin_are_checked(tmp_path: Path) -> None:
    _write(tmp_path, "origin: {home: h, licence: l, sources: [{huggingface: a/b}]}")
    with pytest.raises(RequestError, match="need file or unpack"):
        load_dataset("own", tmp_path)
