"""`fuxictr data list` and `fuxictr data get`."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.data.download import http

SHOP = """
shop:
    train_data: shop/train.csv
    valid_data: shop/valid.csv
    feature_cols: [{{name: user}}]
    label_col: {{name: label}}
    origin:
        home: https://example.org/shop
        licence: for research
        download: 2000
        sources: [{{url: {url}, unpack: {{train.csv: train.csv, valid.csv: valid.csv}}}}]
closed:
    train_data: closed/train.csv
    valid_data: closed/valid.csv
    origin: {{home: https://example.org/closed, licence: not stated, by_hand: fill in the form}}
"""

EXPIDS = """
DNN_shop: {model: DNN, dataset_id: shop}
QNN_shop: {model: QNNalpha, dataset_id: shop}
QNN_closed: {model: QNNalpha, dataset_id: closed}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The working directory has a config whose dataset a local server offers."""
    offered = tmp_path / "offered"
    offered.mkdir()
    for split in ("train", "valid"):
        (offered / f"{split}.csv").write_text("label,user\n1,a\n0,b\n")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(offered)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    (tmp_path / "config").mkdir()
    text = SHOP.format(url=f"http://127.0.0.1:{server.server_port}/")
    (tmp_path / "config" / "dataset_config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(http, "PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


def test_list(config, capsys):
    assert main(["data", "list", "--config", "config"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert "2 of 2 files missing" in lines["shop"] and "2.0 kB" in lines["shop"]
    assert "for research" in lines["shop"] and "https://example.org/shop" in lines["shop"]
    assert "by hand" in lines["closed"]
    assert "https://grouplens.org/datasets/movielens/100k/" in lines["ml_100k"]
    assert "45,840,617 rows" in lines["criteo_x4"] and "10.7 GB, by hand" in lines["tenrec_x1"]
    assert "19,495,974 rows" in lines["ipinyou_x1_parity"]  # valid is the test file: counted once
    assert main(["data", "list", "nobody*"]) == 0
    assert "nothing matches 'nobody*'" in capsys.readouterr().out


def test_get_then_it_is_there(config, capsys):
    assert main(["data", "get", "shop", "--config", "config", "--data-root", "here"]) == 0
    assert sorted(path.name for path in Path("here/shop").glob("*.csv")) == ["train.csv", "valid.csv"]
    output = capsys.readouterr().out
    assert "shop: a download of about 2.0 kB to here/shop/" in output and "licence: for research" in output
    assert output.endswith("next: fuxictr data audit shop --config config --data-root here\n")
    (Path("config") / "model_config.yaml").write_text(EXPIDS)
    assert main(["data", "get", "shop", "--config", "config", "--data-root", "here"]) == 0
    assert "next: fuxictr run --expid QNN_shop --config config --data-root here\n" in capsys.readouterr().out
    assert main(["data", "list", "shop", "--config", "config", "--data-root", "here"]) == 0
    assert " there " in capsys.readouterr().out


def test_one_that_fails_keeps_no_other_away(config, capsys):
    assert main(["data", "get", "closed", "shop", "--config", "config"]) == 2
    assert "by hand: fill in the form" in capsys.readouterr().err
    assert Path("data/shop/train.csv").is_file()


def test_by_hand_names_a_folder_from_which_prepare_works(config, capsys):
    """microlens: the organisers' files have the names of the files that are made."""
    for name in ("microlens_1m_x1", "microlens_1m_x1_levels"):
        assert main(["data", "get", name]) == 2
        error = capsys.readouterr().err
        assert "go to 'data/microlens_1m_x1/raw', then `fuxictr data prepare" in error
        assert error.count("https://") == 1


def test_all_unknown_names_at_once(config, capsys):
    assert main(["data", "get", "shpo", "frape_x1", "--config", "config"]) == 2
    error = capsys.readouterr().err
    assert "'shop'" in error and "'frappe_x1'" in error and not Path("data").exists()


def test_a_source_that_fails_is_1(config, capsys):
    Path("offered/valid.csv").unlink()
    assert main(["data", "get", "shop", "--config", "config"]) == 1
    error = capsys.readouterr().err
    assert "no source worked" in error and "404" in error and "Traceback" not in error
