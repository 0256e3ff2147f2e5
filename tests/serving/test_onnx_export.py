"""`export_onnx` on a run: two files that belong together and tell a client everything, or none."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.data import Places
from fuxictr_qnn.data.raw.reading import Block
from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.runs.saved import open_run
from fuxictr_qnn.serving import export, onnx
from fuxictr_qnn.serving.encoding import RowEncoder
from fuxictr_qnn.serving.export import Exported, export_onnx
from tests.serving.made_clicks import clicks

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
NOWHERE = Places(data_root=Path("nowhere"))


@pytest.fixture(scope="module")
def done(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The run, exported with its build in reach."""
    to = tmp_path_factory.mktemp("served") / "new" / "model.onnx"
    return export_onnx(open_run(trained), to, Places(data_root=trained.parents[2] / "data"))


@pytest.fixture(scope="module")
def about(done: Exported) -> dict[str, Any]:
    return json.loads(done.files[1].read_text())


@pytest.fixture(scope="module")
def client(done: Exported) -> dict[str, Any]:
    """What the page's client defines, in a namespace of its own."""
    namespace: dict[str, Any] = {}
    exec(client_code().split("\nclient = ")[0], namespace)
    return namespace | {"made": namespace["Client"](*done.files)}


def client_code() -> str:
    """The page's complete client."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    return next(block for block in blocks if "class Client" in block)


def test_it_is_checked_on_real_rows(done: Exported, about: dict[str, Any]):
    assert (done.rows, done.origin) == (200, "validation split")
    assert 0 <= done.difference <= 1e-5
    assert about["check"] == {"rows": 200, "origin": done.origin, "largest_difference": done.difference}
    assert [note for note in done.notes if "bucket: made by preprocess functions" in note]
    assert {path.name for path in done.files[0].parent.iterdir()} == {"model.onnx", "model.json"}


def test_the_json_belongs_to_the_file_and_to_the_run(done: Exported, about: dict[str, Any], trained: Path):
    content = done.files[0].read_bytes()
    assert about["model"] == {
        "file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)
    }  # fmt: skip
    metrics = json.loads((trained / "metrics.json").read_text())
    assert about["run"]["config_digest"] == metrics["config_digest"] and about["run"]["seed"] == "1"
    assert about["run"]["metrics"] == metrics["test"]
    assert about["negative_sampling_rate"] is None
    session = onnx.session(done.files[0])
    inputs = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    assert inputs == {"ids": ("tensor(int64)", ["rows", 13]), "numbers": ("tensor(float)", ["rows", 4])}
    assert {name: each["shape"] for name, each in about["inputs"].items()} == {
        "ids": ["rows", 13], "numbers": ["rows", 4]
    }  # fmt: skip
    assert session.get_modelmeta().custom_metadata_map["expid"] == "DNN_clicks"


@pytest.mark.slow
def test_two_exports_of_a_run_are_equal(done: Exported, trained: Path, tmp_path: Path):
    places = Places(data_root=trained.parents[2] / "data")
    again = export_onnx(open_run(trained), tmp_path / "model.onnx", places)
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in done.files]


def raw_rows() -> pl.DataFrame:
    """The test rows, with what the preprocess function makes."""
    stock = pl.col("stock")
    bucket = pl.when(stock > 2).then(stock.log().pow(2).floor()).otherwise(stock)
    return clicks(250, 2).with_columns(bucket=bucket.cast(pl.Int64))


def test_the_pages_client_encodes_as_the_build_does(
    client: dict[str, Any], about: dict[str, Any], trained: Path
):
    frame = clicks(250, 2)
    encoded = RowEncoder(trained / "features").encode(Block(Path("rows"), 0, frame)).columns
    rows = raw_rows().to_dicts()
    for feature in about["features"]:
        name = feature["name"]
        vocabulary = about["vocabularies"].get(name)
        found = np.array([client["encode"](row[name], feature, vocabulary) for row in rows])
        np.testing.assert_allclose(found, encoded[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_the_pages_client_predicts_what_the_run_predicted(client: dict[str, Any], trained: Path):
    rows = raw_rows().to_dicts()
    wanted = pl.read_parquet(trained / "test_scores.parquet")["y_pred"].to_numpy()
    np.testing.assert_allclose(client["made"].predict(rows), wanted, atol=1e-5)
    np.testing.assert_allclose(client["made"].predict(rows[3:4]), wanted[3:4], atol=1e-5)


def test_the_pages_client_needs_neither_torch_nor_fuxictr(done: Exported):
    seen = "[name for name in ('torch', 'fuxictr', 'polars', 'fuxictr_qnn') if name in sys.modules]"
    code = f"{client_code()}\nimport sys\nprint({seen})\n"
    folder = done.files[0].parent
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 4 and ran.stdout.splitlines()[-1] == "[]"


def test_without_its_build_the_rows_are_made_up(trained: Path, tmp_path: Path):
    done = export_onnx(open_run(trained), tmp_path / "model.onnx", NOWHERE)
    assert done.rows == 2000 and "made up" in done.origin
    assert [note for note in done.notes if "--data-root" in note]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 2e-5])
def test_no_difference_goes_unseen(wrong: float, monkeypatch: pytest.MonkeyPatch):
    """Whichever row it is in, together or alone."""
    for at in (0, 6, 20):
        scores = np.full(30, 0.5)
        scores[at] += wrong
        monkeypatch.setattr(onnx, "session", lambda file: None)
        monkeypatch.setattr(onnx, "run", lambda session, matrices, s=scores: s[: len(matrices["ids"])])
        with pytest.raises(RunError, match="disagrees"):
            export.check(Path("model.onnx"), {"ids": np.zeros((30, 1))}, np.full(30, 0.5))


def test_an_old_file_stays_when_a_new_one_fails(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("model.onnx", "model.json"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(onnx, "write_onnx", lambda served, file, facts: file.write_bytes(b"") or _full())
    with pytest.raises(RunError, match="No space left"):
        export_onnx(open_run(trained), tmp_path / "model.onnx", NOWHERE)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "model.onnx": "old",
        "model.json": "old",
    }


def _full() -> None:
    raise OSError(28, "No space left on device")


def test_the_packages_are_named_where_they_are_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(
        RequestError, match=r"onnx, onnxruntime, onnxscript: pip install 'fuxictr-qnn\[onnx\]'"
    ):
        onnx.require_onnx()
