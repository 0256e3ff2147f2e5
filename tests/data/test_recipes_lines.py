"""Recipes that stream text: Criteo, Tenrec, iPinYou."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from fuxictr_qnn.data import recipes
from fuxictr_qnn.data.recipes import criteo_x4, ipinyou_x1, lines, tenrec_x1
from fuxictr_qnn.data.recipes.lines import sizes
from fuxictr_qnn.errors import RequestError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 20_000)


def folds_as_published(labels: list[int]) -> list[int]:
    """scikit-learn 0.19.1's StratifiedKFold(10, shuffle=True, random_state=2018), written out again."""
    folds = [-1] * len(labels)
    for label in sorted(set(labels)):
        rows = [row for row, other in enumerate(labels) if other == label]
        indices = np.arange(len(rows))
        np.random.RandomState(2018).shuffle(indices)
        start = 0
        for fold in range(10):
            size = len(rows) // 10 + (1 if fold < len(rows) % 10 else 0)
            for index in indices[start : start + size]:
                folds[rows[index]] = fold
            start += size
    return folds


def criteo_lines(rows: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    counts = [[rng.choice(["", str(rng.randrange(-2, 5000))]) for _ in range(13)] for _ in range(rows)]
    categories = [[rng.choice(["", f"{rng.randrange(1 << 32):08x}"]) for _ in range(26)] for _ in range(rows)]
    return ["\t".join([str(int(rng.random() < 0.26)), *counts[row], *categories[row]]) for row in range(rows)]


def prepare(name: str, files: dict[str, str | bytes], tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (raw / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    recipes.prepare(name, raw, tmp_path / "data", log=lambda line: None)
    return tmp_path / "data"


class TestCriteo:
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    def test_equals_a_straightforward_split(self, tmp_path, newline):
        rows = criteo_lines(997)
        data = prepare("criteo_x4", {"train.txt": newline.join(rows) + newline}, tmp_path)
        folds = folds_as_published([int(row[0]) for row in rows])
        wanted = {"test": [0], "valid": [1], "train": range(2, 10)}
        for split, members in wanted.items():
            written = (data / f"{split}.csv").read_bytes().decode().split("\n")
            expected = [
                rows[at].replace("\t", ",") for fold in members for at, of in enumerate(folds) if of == fold
            ]
            assert written == [",".join(criteo_x4.COLUMNS), *expected, ""]
        assert {path.name for path in data.glob("[!.]*")} == {"train.csv", "valid.csv", "test.csv"}

    def test_folds_have_these_sizes(self):
        labels = (np.random.default_rng(1).random(50_003) < 0.2562).astype(np.int8)
        folds = criteo_x4.folds_of(labels)
        assert folds.tolist() == folds_as_published(labels.tolist())

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("Label\tI1", "line 500: has 2 cells, not 40"),
            ("2" + "\t" * 39, "line 500: the label is '2', not 0 or 1"),
            ("\t" * 39, "line 500: the label is '', not 0 or 1"),
            ("0" + "\t" * 38, "line 500: has 39 cells"),
            ("", "line 500: is empty"),
            ("0,1" + "\t" * 39, "line 500: holds ,"),
            (b"0" + b"\t" * 38 + b"\xff\t", "line 500: byte 0xff is not UTF-8"),
        ],
    )
    def test_other_lines_are_refused(self, tmp_path, line, message):
        rows = [row.encode() for row in criteo_lines(600)]
        rows[499] = line if isinstance(line, bytes) else line.encode()
        with pytest.raises(RequestError, match=message):
            prepare("criteo_x4", {"train.txt": b"\n".join(rows)}, tmp_path)
        assert not (tmp_path / "data").exists()


def tenrec_text(rows: int, columns: list[str] = tenrec_x1.COLUMNS) -> str:
    rng = random.Random(2)
    cells = {"click": ["0", "0", "1"], "video_category": ["0", "1", "\\N"]}
    lines = [",".join(rng.choice(cells.get(name, ["7", "12345"])) for name in columns) for _ in range(rows)]
    return "\n".join([",".join(columns), *lines]) + "\n"


class TestTenrec:
    def test_sizes_order_and_contents(self, tmp_path):
        text = tenrec_text(2007)
        data = prepare("tenrec_x1", {"ctr_data_1M.csv": text}, tmp_path)
        header, *rows = text.splitlines()
        parts = [(data / f"{split}.csv").read_text().splitlines() for split in ("train", "valid", "test")]
        assert [len(part) - 1 for part in parts] == [1605, 201, 201]  # cut at 1605.6 and 1806.3
        assert all(part[0] == header for part in parts)
        assert sorted(row for part in parts for row in part[1:]) == sorted(rows)
        for part in parts:  # a subsequence of the source
            source = iter(rows)
            assert all(row in source for row in part[1:])

    def test_the_draw_is_these_rows(self):
        """Another stream of random numbers would make another benchmark under the same name."""
        drawn = lines.draw(tenrec_x1.SPLITS, 30, tenrec_x1.SEED)
        assert np.flatnonzero(drawn == 1).tolist() == [2, 4, 28]
        assert np.flatnonzero(drawn == 2).tolist() == [5, 18, 26]

    def test_the_published_sizes(self):
        assert sizes(tenrec_x1.SPLITS, 120_342_306).tolist() == [96_273_844, 12_034_231, 12_034_231]

    def test_the_same_rows_each_time(self, tmp_path):
        text = tenrec_text(300)
        first = prepare("tenrec_x1", {"ctr_data_1M.csv": text}, tmp_path / "1")
        windows = "\ufeff" + text.replace("\n", "\r\n")
        again = prepare("tenrec_x1", {"ctr_data_1M.csv": windows}, tmp_path / "2")
        for split in ("train", "valid", "test"):
            assert (first / f"{split}.csv").read_bytes() == (again / f"{split}.csv").read_bytes()

    def test_another_dataset_is_refused(self, tmp_path):
        other = tenrec_text(5, [name for name in tenrec_x1.COLUMNS if name not in ("click", "hist_3")])
        with pytest.raises(RequestError, match="lacks the columns click, hist_3 .*needed is Tenrec's"):
            prepare("tenrec_x1", {"ctr_data_1M.csv": other}, tmp_path)

    def test_a_second_header_line_is_refused(self, tmp_path):
        text = tenrec_text(100)
        with pytest.raises(RequestError, match="line 102: is the header line once more"):
            prepare("tenrec_x1", {"ctr_data_1M.csv": text + text}, tmp_path)

    def test_other_columns_may_come_along(self, tmp_path):
        data = prepare(
            "tenrec_x1", {"ctr_data_1M.csv": tenrec_text(50, ["day", *tenrec_x1.COLUMNS])}, tmp_path
        )
        assert (data / "test.csv").read_text().startswith("day,user_id")


class TestIPinYou:
    def text(self, rows: int, seed: int) -> str:
        rng = random.Random(seed)
        lines = [
            ",".join([str(rng.randrange(2)), *(f"v{rng.randrange(99)}" for _ in ipinyou_x1.COLUMNS[1:])])
            for _ in range(rows)
        ]
        return "\n".join([",".join(ipinyou_x1.COLUMNS), *lines]) + "\n"

    def test_a_tenth_of_train_becomes_valid(self, tmp_path):
        train, test = self.text(1005, 1), self.text(200, 2)
        data = prepare("ipinyou_x1", {"train.csv": train, "test.csv": test}, tmp_path)
        kept, held = [(data / f"{split}.csv").read_text().splitlines()[1:] for split in ("train", "valid")]
        assert (len(kept), len(held)) == (904, 101)
        assert sorted(kept + held) == sorted(train.splitlines()[1:])
        source = iter(train.splitlines()[1:])
        assert all(row in source for row in kept)
        assert (data / "test.csv").read_text() == test

    def test_the_draw_is_these_rows(self):
        drawn = lines.draw(ipinyou_x1.SPLITS, 30, ipinyou_x1.SEED)
        assert np.flatnonzero(drawn).tolist() == [5, 18, 26]

    def test_the_header_line_is_copied_as_it_is(self, tmp_path):
        text = self.text(20, 1).replace("useragent", '"useragent"')
        data = prepare("ipinyou_x1", {"train.csv": text, "test.csv": text}, tmp_path)
        for split in ("train", "valid", "test"):
            assert (data / f"{split}.csv").read_text().splitlines()[0] == text.splitlines()[0]

    def test_cells_in_quotes(self, tmp_path):
        train = self.text(20, 1) + ",".join(["1", '"a,b"', *ipinyou_x1.COLUMNS[2:]]) + "\n"
        data = prepare("ipinyou_x1", {"train.csv": train, "test.csv": self.text(5, 2)}, tmp_path)
        assert '"a,b"' in (data / "train.csv").read_text() + (data / "valid.csv").read_text()


class TestLines:
    def read(self, tmp_path: Path, content: bytes, **kwargs) -> list[str]:
        (tmp_path / "file").write_bytes(content)
        blocks = list(lines.read_lines(tmp_path / "file", **kwargs))
        assert [block.first for block in blocks][:1] in ([], [2], [1])
        return [block.line(at) for block in blocks for at in range(len(block))]

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n\n"])
    def test_ends_of_a_file(self, tmp_path, end, monkeypatch):
        for size in (1, 2, 3, 5, 100):
            monkeypatch.setattr(lines, "BLOCK_BYTES", size)
            assert self.read(tmp_path, b"h\na,b\r\nc,d" + end) == ["a,b", "c,d"]
            assert self.read(tmp_path, b"\xef\xbb\xbfa,b\nc,d" + end, titled=False) == ["a,b", "c,d"]

    def test_nothing_after_the_header(self, tmp_path):
        assert self.read(tmp_path, b"a,b\n") == []

    def test_labels_anywhere(self, tmp_path):
        (tmp_path / "file").write_text('0,,1\n1,x,0\n"1","a,b",1\n')
        block = next(lines.read_lines(tmp_path / "file", titled=False))
        assert block.labels(0, 3).tolist() == [0, 1, 1]
        assert block.labels(2, 3).tolist() == [1, 0, 1]
        with pytest.raises(RequestError, match="line 1: the label is '', not 0 or 1"):
            block.labels(1, 3)
        with pytest.raises(RequestError, match="line 1: has 3 cells, not 2"):
            block.labels(1, 2)
