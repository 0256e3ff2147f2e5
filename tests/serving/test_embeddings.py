"""Token -> vector as parquet: the model's own vectors under the vocabulary's own tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data.vocabulary import read_vocabularies
from fuxictr_qnn.errors import RunError
from fuxictr_qnn.models.registry import find_model
from fuxictr_qnn.runs.saved import open_run
from fuxictr_qnn.serving import embeddings
from fuxictr_qnn.serving.embeddings import export_embeddings
from tests.synthetic import BASE, make_feature_map

WITH_IDS = {"user", "item", "city", "tags", "liked", "device", "age", "bucket"}


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("vectors") / "of" / "clicks"
    tables = export_embeddings(open_run(trained), to)
    assert {table.feature for table in tables} == WITH_IDS
    return to


def test_every_token_has_its_vector(folder: Path, trained: Path):
    assert {file.stem for file in folder.iterdir()} == WITH_IDS
    assert {file.name for file in folder.parent.iterdir()} == {"clicks"}
    weights = open_run(trained).weights()
    names = ["user", "item", "tags", "liked"]
    for name, vocabulary in read_vocabularies(
        trained / "features" / "feature_vocab.json", dict.fromkeys(names, "String")
    ).items():
        frame = pl.read_parquet(folder / f"{name}.parquet")
        assert frame.schema == {"id": pl.Int32, "token": pl.String, "vector": pl.Array(pl.Float32, 4)}
        table = weights[f"embedding_layer.embedding_layer.embedding_layers.{name}.weight"].numpy()
        assert frame["id"].to_list() == list(range(1, vocabulary.size))
        np.testing.assert_array_equal(frame["vector"].to_numpy(), table[1 : vocabulary.size])
        known = dict(zip(vocabulary.tokens, vocabulary.ids.tolist(), strict=True))
        tokens = dict(zip(frame["token"], frame["id"], strict=True))
        assert tokens.pop(None) == vocabulary.oov and tokens == known


def test_buckets_have_ids_and_no_tokens(folder: Path):
    frame = pl.read_parquet(folder / "device.parquet")
    assert frame["id"].to_list() == list(range(1, 7)) and frame["token"].null_count() == 6


def test_what_is_there_is_replaced_and_stays_when_writing_fails(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    to = tmp_path / "vectors"
    to.mkdir()
    (to / "old.parquet").write_text("old")

    def full(temporary: Path, final: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(embeddings, "publish_folder", full)
        with pytest.raises(RunError, match="No space left"):
            export_embeddings(open_run(trained), to)
    assert [path.name for path in tmp_path.rglob("*")] == ["vectors", "old.parquet"]
    export_embeddings(open_run(trained), to)
    assert {file.stem for file in to.iterdir()} == WITH_IDS
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_of_a_link_what_it_leads_to_is_replaced(trained: Path, tmp_path: Path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    for _ in range(2):
        export_embeddings(open_run(trained), link)
        assert link.is_symlink() and {file.stem for file in (tmp_path / "real").iterdir()} == WITH_IDS
    assert {path.name for path in tmp_path.iterdir()} == {"link", "real"}


def test_a_full_disk(trained: Path, tmp_path: Path):
    """polars has errors of its own for it: a small limit of a file's size makes it meet one."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = open_run(trained)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(RunError, match="writing '.*vectors' failed"):
            export_embeddings(run, tmp_path / "vectors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model, columns", [("DeepFM", {"vector": 4, "fm.lr_layer": 1}), ("LR", {"lr_layer": 1})]
)
def test_other_tables_are_columns_by_the_name_of_their_layer(model: str, columns: dict[str, int]):
    params = {"embedding_dim": 4} if model == "DeepFM" else {}
    built = find_model(model)(make_feature_map({"a": 9, "b": 7}, dim=4), **params, **BASE)
    for name, size in (("a", 9), ("b", 7)):
        found = embeddings._vectors(built)[name]
        assert {column: values.shape for column, values in found.items()} == {
            column: (size, width) for column, width in columns.items()
        }


def test_every_feature_has_a_file_of_its_own():
    names = ["a_b", "a/b", "a\\b", "a%2Fb", "preço"]
    files = {embeddings._file_name(name) for name in names}
    assert len(files) == len(names) and not any("/" in file or "\\" in file for file in files)
