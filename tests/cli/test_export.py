"""`fuxictr export`: files where they were asked for, or one message and nothing."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.serving.graph import Served

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


@pytest.fixture
def run(shop, capsys) -> Path:
    """A run of LR_shop below `runs`, from the working directory."""
    assert main(["run", "--expid", "LR_shop", "--config", str(shop.config), "--gpu", "-1"]) == 0
    capsys.readouterr()
    return next((shop.root / "runs").glob("LR_shop-*/seed7"))


def test_a_model_and_its_embeddings(run: Path, shop, capsys):
    assert main("export --run LR_shop --to served/lr.onnx --embeddings vectors".split()) == 0
    said = capsys.readouterr().out
    assert "LR_shop (seed 7): checked with onnxruntime on 200 rows (validation split), largest diff" in said
    assert "user: 21 ids; lr_layer 1" in said and "note:" not in said
    assert {path.name for path in (shop.root / "served").iterdir()} == {"lr.onnx", "lr.json"}
    assert {path.name for path in (shop.root / "vectors").iterdir()} == {"user.parquet", "item.parquet"}
    assert json.loads((shop.root / "served" / "lr.json").read_text())["run"]["expid"] == "LR_shop"


def test_what_is_there_is_kept_unless_forced(run: Path, shop, capsys):
    assert main("export --run LR_shop --to lr.onnx".split()) == 0
    before = (shop.root / "lr.onnx").stat().st_mtime_ns
    (shop.root / "vectors").mkdir()
    (shop.root / "vectors" / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert main("export --run LR_shop --to lr.onnx --embeddings vectors".split()) == 2
    said = capsys.readouterr().err
    assert "2 problems" in said and "lr.onnx and lr.json exist already; --force replaces them" in said
    assert "vectors: holds other files as well (notes.txt)" in said
    assert main("export --run LR_shop --embeddings vectors --force".split()) == 2
    assert (shop.root / "lr.onnx").stat().st_mtime_ns == before
    assert main("export --run LR_shop --to lr.onnx --force".split()) == 0
    assert (shop.root / "lr.onnx").stat().st_mtime_ns > before


def test_a_file_that_disagrees_with_the_model(run: Path, shop, capsys, monkeypatch: pytest.MonkeyPatch):
    files = shop.files()
    monkeypatch.setattr(Served, "_predict", lambda self, batch, of=Served._predict: of(self, batch) + 2e-5)
    assert main(["export", "--run", str(run), "--to", "new/lr.onnx"]) == 1
    said = capsys.readouterr().err
    assert (
        "disagrees with the model: its predictions are off by up to 2" in said and "e-05 on 200 rows" in said
    )
    assert shop.files() == files


@pytest.mark.parametrize(
    "to, embeddings", [("d/m.onnx", "d"), ("d/of/m.onnx", "link"), ("d.onnx", "d.onnx"), ("d.onnx", "d.json")]
)
def test_a_model_inside_its_embeddings_is_refused(run: Path, shop, to: str, embeddings: str, capsys):
    """The folder is replaced as a whole, and the model with it."""
    (shop.root / "link").symlink_to("d")
    files = shop.files()
    assert main(f"export --run LR_shop --to {to} --embeddings {embeddings}".split()) == 2
    assert f"--to {to}: lies in --embeddings {embeddings}" in capsys.readouterr().err
    assert shop.files() == files


def test_only_embeddings_are_replaced(run: Path, shop, capsys):
    assert main("export --run LR_shop --embeddings vectors".split()) == 0
    (shop.root / "vectors" / "old.parquet").write_bytes((shop.root / "vectors" / "user.parquet").read_bytes())
    assert main("export --run LR_shop --embeddings vectors --force".split()) == 0
    assert {path.name for path in (shop.root / "vectors").iterdir()} == {"user.parquet", "item.parquet"}
    frames = {
        "train": pl.DataFrame({"user": ["u1"], "label": [1.0]}),
        "valid": pl.DataFrame({"id": [1], "token": ["a"], "label": [1.0]}, schema_overrides={"id": pl.Int32}),
    }
    for name, frame in frames.items():
        frame.write_parquet(shop.root / "vectors" / f"{name}.parquet")
    (shop.root / "vectors" / "test.parquet").write_text("none at all")
    files = shop.files()
    for force in ([], ["--force"]):
        capsys.readouterr()
        assert main(["export", "--run", "LR_shop", "--embeddings", "vectors", *force]) == 2
        assert "(test.parquet, train.parquet, valid.parquet)" in capsys.readouterr().err
    assert shop.files() == files


@pytest.mark.parametrize(
    "options, problem",
    [
        ("", "nothing to export: --to FILE.onnx for the model, --embeddings DIR"),
        ("--to model.pt", "--to model.pt: name a file that ends in .onnx"),
        ("--to config/.onnx", "name a file that ends in .onnx"),
        ("--to folder.onnx", "'folder.onnx' is a folder; name a file in it"),
        ("--to config/dataset_config.yaml/a.onnx", "is a file, not a folder"),
        ("--embeddings config/dataset_config.yaml", "is a file; name a folder"),
        ("--run nobody --to a.onnx", "--run nobody: neither a folder nor an experiment with a run in 'runs'"),
    ],
)
def test_bad_requests(options: str, problem: str, shop, run: Path, capsys):
    (shop.root / "folder.onnx").mkdir()
    files = shop.files()
    words = options.split()
    assert main(["export", *([] if "--run" in words else ["--run", str(run)]), *words]) == 2
    assert problem in capsys.readouterr().err
    assert shop.files() == files
