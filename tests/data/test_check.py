"""`check`: what is compared, when it counts as different, and what is said of the rest."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from data_support import (
    SMALL,
    config_of,
    items_spec,
    make_spec,
    quiet,
    small_frame,
    small_spec,
    write_items,
    write_small,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fuxictr_qnn.cli import main
from fuxictr_qnn.data.open import open_dataset
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.check import check_dataset
from fuxictr_qnn.data.quality.facts import Checked, Fact, compare_rates
from fuxictr_qnn.errors import RequestError

ROWS = {"train": 200, "valid": 50, "test": 50}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def facts(checked: Checked) -> dict[str, Fact]:
    return {fact.what: fact for fact in checked.facts}


def check(places: Places, expected: dict[str, Any], build: bool = False, **changes: Any) -> dict[str, Fact]:
    return facts(check_dataset(small_spec(expected=expected, **changes), places, build=build, log=quiet))


def sizes(places: Places) -> dict[str, int]:
    """Ids of the features of the small dataset, counted here."""
    train = pl.read_csv(places.data_root / "small" / "train.csv")
    items = train["item"].value_counts().filter(pl.col("count") >= 2).height
    return {"user": train["user"].drop_nulls().n_unique() + 2, "item": items + 2}


@pytest.fixture
def places(tmp_path) -> Places:
    return write_small(tmp_path)


class TestAll:
    def test_what_is_as_expected(self, places):
        folder = places.data_root / "small"
        rates = {split: round(pl.read_csv(folder / f"{split}.csv")["label"].mean(), 4) for split in ROWS}
        expected = {
            "rows": ROWS,
            "positive_rate": rates,
            "vocabulary": sizes(places),
            "md5": {"train.csv": md5((folder / "train.csv").read_bytes())},
            "note": "nothing",
        }
        checked = check_dataset(small_spec(expected=expected), places, build=True, log=quiet)
        assert checked.as_expected and checked.note == "nothing"
        assert [fact.agrees for fact in checked.facts] == [True] * 12  # 3 files, 6 of rows, 3 of ids
        assert checked.summary == "12 of the known facts agree, 0 differ"

    def test_what_differs_and_by_how_much(self, places):
        expected = {"rows": ROWS | {"train": 198}, "positive_rate": {"test": 0.9}, "vocabulary": {"user": 4}}
        found = check(places, expected, build=True)
        assert (found["rows of train"].remark, found["rows of train"].agrees) == ("+2", False)
        assert found["positive rate of test"].remark.endswith("points")
        assert found["ids of user"].remark == f"+{sizes(places)['user'] - 4}"
        assert found["rows of valid"].agrees and found["ids of item"].agrees is None

    def test_what_nobody_published_differs_from_nothing(self, places):
        checked = check_dataset(small_spec(expected={}), places, log=quiet)
        assert checked.as_expected and checked.summary == "3 of the known facts agree, 0 differ"
        assert facts(checked)["rows of test"].remark == "not published"

    def test_nothing_expected_and_nothing_there(self, places, tmp_path):
        with pytest.raises(RequestError, match="small: expected is not set"):
            check_dataset(small_spec(), places)
        with pytest.raises(RequestError, match="none of train.csv, valid.csv, test.csv is there"):
            check_dataset(small_spec(expected={}), Places(tmp_path / "elsewhere"))


class TestFiles:
    LINES = b"label,user,item,price\n1,u1,2,3.5\n0,u2,2,4.5\n"

    @pytest.mark.parametrize(
        ("published", "agrees", "remark"),
        [
            (LINES, True, ""),
            (LINES.replace(b"\n", b"\r\n"), True, "matches with CRLF line ends"),
            (LINES.replace(b"u2", b"u3"), False, "other contents"),
        ],
    )
    def test_md5(self, places, published, agrees, remark):
        (places.data_root / "small" / "test.csv").write_bytes(self.LINES)
        found = check(places, {"md5": {"test.csv": md5(published)}})["file test.csv"]
        assert (found.agrees, found.remark, found.found) == (agrees, remark, md5(self.LINES))

    def test_a_file_that_was_given_other_line_ends(self, places):
        (places.data_root / "small" / "test.csv").write_bytes(self.LINES.replace(b"\n", b"\r\n"))
        found = check(places, {"md5": {"test.csv": md5(self.LINES)}})
        assert found["file test.csv"].remark == "matches with LF line ends"

    def test_missing_ones(self, places):
        (places.data_root / "small" / "test.csv").unlink()
        found = check(places, {"rows": ROWS, "md5": {"raw/all.csv": "0" * 32}})
        assert (found["file test.csv"].agrees, found["file test.csv"].remark) == (
            False,
            "the file is missing",
        )
        assert found["rows of test"].remark == "not checked: the file is missing"
        raw = found["file small/raw/all.csv"]
        assert raw.agrees is None and raw.remark.startswith("not checked")

    def test_one_that_cannot_be_read(self, places):
        (places.data_root / "small" / "test.csv").write_bytes(self.LINES + b"maybe,u1,1,1\n")
        found = check(places, {})["rows of test"]
        assert found.agrees is False and "line 4: column 'label' holds 'maybe'" in found.remark


class TestBuild:
    EXPECTED = {"vocabulary": {"user": 7}}

    def test_without_one_ids_are_not_checked(self, places):
        found = check(places, self.EXPECTED)["ids of features"]
        assert (found.expected, found.agrees) == ("1 known, 7 in all", None)
        assert found.remark == "not checked: it is not built; --build builds it"

    def test_one_that_is_there_is_found_until_the_files_change(self, places):
        open_dataset(small_spec(), places, quiet)
        before = sorted(places.data_root.rglob("*"))
        assert check(places, self.EXPECTED)["ids of user"].agrees is False
        assert sorted(places.data_root.rglob("*")) == before  # looking writes nothing
        small_frame(120, 9).write_csv(places.data_root / "small" / "train.csv")
        assert "ids of features" in check(places, self.EXPECTED)

    def test_splits_that_the_build_cuts(self, places):
        cut = {"valid_data": None, "test_data": None, "valid_size": 0.1}
        expected = {"rows": {"train": 180, "valid": 20}}
        assert check(places, expected, **cut)["rows of valid"].remark.startswith(
            "not checked: it is not built"
        )
        found = check(places, expected, build=True, **cut)
        assert found["rows of train"].agrees and found["rows of valid"].agrees

    def test_files_with_ids(self, tmp_path):
        spec = items_spec(expected={"rows": {"train": 7, "valid": 5}, "vocabulary": {"level": 3}})
        found = facts(check_dataset(spec, write_items(tmp_path), build=True, log=quiet))
        assert found["rows of train"].agrees and found["rows of valid"].agrees
        assert found["ids of features"].remark == "not checked: its files hold ids already"


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(3, 6))
def test_rates_agree_within_the_decimals_that_were_published(rate, decimals):
    published = round(rate, decimals)
    assert compare_rates("", published, rate).agrees
    assert not compare_rates("", published, published + 1e-3).agrees


def test_the_reconstructed_frappe(test_data):
    spec = make_spec("frappe_x1", config_of("frappe_x1"))
    found = facts(check_dataset(spec, Places(test_data, test_data / "no_builds"), log=quiet))
    assert [found[f"file frappe_x1/{split}.csv"].remark for split in ROWS] == [
        "other contents",
        *["matches with CRLF line ends"] * 2,
    ]
    others = [fact for what, fact in found.items() if not what.startswith("file") and fact.found]
    assert [fact.agrees for fact in others] == [True] * 6


class TestCommand:
    @pytest.fixture
    def config(self, tmp_path, places) -> Path:
        folder = tmp_path / "config"
        folder.mkdir()
        files = {f"{split}_data": f"small/{split}.csv" for split in ROWS}
        datasets = {
            name: SMALL | files | {"expected": {"rows": rows}}
            for name, rows in {"right": ROWS, "wrong": {"train": 7}}.items()
        }
        (folder / "dataset_config.yaml").write_text(yaml.safe_dump(datasets))
        return folder

    @pytest.mark.parametrize(("name", "code"), [("right", 0), ("wrong", 1), ("wrnog", 2)])
    def test_exit_codes(self, config, places, capsys, name, code):
        command = ["data", "check", name, "--config", str(config), "--data-root", str(places.data_root)]
        assert main(command) == code
        output = capsys.readouterr()
        table = [line.split() for line in output.out.splitlines()]
        if code == 0:
            assert ["ok", "rows", "of", "train", "200", "200"] in table
            assert "6 of the known facts agree, 0 differ" in output.out
        elif code == 1:
            assert ["DIFFERS", "rows", "of", "train", "7", "200", "+193"] in table
        else:
            assert "Did you mean 'wrong'?" in output.err

    def test_torch_is_not_waited_for(self, config, places):
        arguments = ["data", "check", "right", "--config", str(config), "--data-root", str(places.data_root)]
        code = f"import sys; from fuxictr_qnn.cli import main; main({[*arguments, '--build']!r})\n"
        code += "print([name for name in ('torch', 'ray', 'fuxictr') if name in sys.modules])"
        root = Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
