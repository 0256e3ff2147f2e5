"""`fuxictr data prepare`, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fuxictr_qnn.cli import main

LINE = "1 15:1 1837:1 5045:1 5050:1 5054:1 5055:1 5058:1 5063:1 5077:1 5155:1\n"


def raw_files(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for split, rows in (("train", 3), ("valid", 2), ("test", 1)):
        (folder / f"{split}.libsvm").write_text(LINE * rows + "0" + LINE[1:])
    return folder


def test_files_figures_and_the_next_command(tmp_path):
    raw_files(tmp_path / "raw")
    command = [sys.executable, "-m", "fuxictr_qnn", "data", "prepare", "frappe_x1", "--raw", "raw"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(root), "PATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "train.csv: 4 rows, 75.00 % positive" in done.stdout
    assert "frappe_x1 is ready after" in done.stdout
    assert done.stdout.endswith("next: fuxictr data check frappe_x1\n")
    files = {path.name for path in (tmp_path / "data" / "frappe_x1").glob("*.csv")}
    assert files == {"train.csv", "valid.csv", "test.csv"}


def test_the_raw_folder_of_the_data_root(tmp_path, capsys):
    raw_files(tmp_path / "frappe_x1" / "raw")
    assert main(["data", "prepare", "frappe_x1", "--data-root", str(tmp_path)]) == 0
    assert f"next: fuxictr data check frappe_x1 --data-root {tmp_path}" in capsys.readouterr().out
    assert main(["data", "prepare", "frappe_x1", "--data-root", str(tmp_path)]) == 2
    assert "--force replaces" in capsys.readouterr().err
    assert main(["data", "prepare", "frappe_x1", "--data-root", str(tmp_path), "--force"]) == 0


def test_a_data_root_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["data", "prepare", "frappe_x1", "--data-root", str(tmp_path / "file" / "below")]) == 2
    assert f"'{tmp_path / 'file'}' is a file, not a folder" in capsys.readouterr().err


def test_variants_share_a_folder(tmp_path, capsys):
    assert main(["data", "prepare", "microlens_1m_x1_levels", "--data-root", str(tmp_path)]) == 2
    assert f"'{tmp_path / 'microlens_1m_x1' / 'raw'}': no such folder" in capsys.readouterr().err


def test_what_has_no_recipe(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "kkbox_x1", "--raw", "."]) == 2
    assert "kkbox_x1 has no recipe" in capsys.readouterr().err
    assert main(["data", "prepare", "frape_x1", "--raw", "."]) == 2
    assert "Did you mean 'frappe_x1'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
