"""Frappe from libsvm files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fuxictr_qnn.data import recipes
from fuxictr_qnn.errors import RequestError

MD5 = {"valid": "88d51bf2173505436d3a8f78f2a59da8", "test": "3470f6d32713dc5f7715f198ca7c612a"}
LINE = "1 15:1 1837:1 5045:1 5050:1 5054:1 5055:1 5058:1 5063:1 5077:1 5155:1"


def as_libsvm(text: str) -> str:
    rows = (line.split(",") for line in text.splitlines()[1:])
    return "".join(f"{row[0]} {' '.join(f'{id}:1' for id in row[1:])}\n" for row in rows)


def prepare(raw: Path, folder: Path, **files: str) -> None:
    raw.mkdir(exist_ok=True)
    for split, text in files.items():
        (raw / f"{split}.libsvm").write_text(text)
    recipes.prepare("frappe_x1", raw, folder, log=lambda line: None)


def test_the_published_md5(test_data, tmp_path):
    texts = {split: (test_data / "frappe_x1" / f"{split}.csv").read_text() for split in MD5}
    prepare(
        tmp_path / "raw", tmp_path / "data", train=LINE, **{s: as_libsvm(text) for s, text in texts.items()}
    )
    for split, md5 in MD5.items():
        written = (tmp_path / "data" / f"{split}.csv").read_bytes()
        assert hashlib.md5(written).hexdigest() == md5


def test_other_spellings(tmp_path):
    lines = "\ufeff" + f"-1{LINE[1:]}\r\n1.0{LINE[1:]} \r\n".replace(":1", ":1.0")
    prepare(tmp_path / "raw", tmp_path / "data", train=lines, valid=LINE, test=LINE + "\n\n")
    rows = (tmp_path / "data" / "train.csv").read_bytes().decode().split("\r\n")
    assert rows[0].startswith("label,user,item,daytime") and rows[3:] == [""]
    assert [row.split(",", 1) for row in rows[1:3]] == [
        ["0", "15,1837,5045,5050,5054,5055,5058,5063,5077,5155"],
        ["1", "15,1837,5045,5050,5054,5055,5058,5063,5077,5155"],
    ]


@pytest.mark.parametrize(
    "line",
    [
        "2" + LINE[1:],
        LINE.replace(" 15:1", ""),
        LINE + " 5156:1",
        LINE.replace(":1", ":2"),
        LINE.replace("5155", "5382"),
        LINE.replace(" 15:", " 957:"),
        "label,user,item",
        "",
    ],
)
def test_lines_of_other_files(tmp_path, line):
    with pytest.raises(RequestError, match="valid.libsvm', line 2: .* is not a line of Frappe") as error:
        prepare(tmp_path / "raw", tmp_path / "data", train=LINE, valid=f"{LINE}\n{line}\n{LINE}", test="?")
    assert len(error.value.problems) == 2  # test.libsvm, too
    assert not (tmp_path / "data").exists()


def test_not_utf8(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "train.libsvm").write_bytes(f"{LINE}\n{LINE}".encode() + b"\xff")
    (tmp_path / "raw" / "valid.libsvm").write_text(LINE)
    (tmp_path / "raw" / "test.libsvm").write_text(LINE)
    with pytest.raises(RequestError, match="train.libsvm', line 2: byte 0xff is not UTF-8"):
        prepare(tmp_path / "raw", tmp_path / "data")
