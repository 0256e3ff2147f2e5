"""CSV files as the world writes them: read where the meaning is clear, else one sentence that says where."""

from __future__ import annotations

import random

import polars as pl
import pytest
from data_support import make_spec, quiet

from fuxictr_qnn.data import Places, build_dataset
from fuxictr_qnn.data.raw import csv_text, reading
from fuxictr_qnn.errors import RequestError

HEADER = "user,item,price,label\n"
BODY = "u1,1,2.5,1\nu2,1,3.5,0\n" * 3
GOOD = HEADER + BODY
COLUMNS = [
    {"name": "user"},
    {"name": "item", "dtype": "int"},
    {"name": "price", "dtype": "float", "type": "numeric"},
]
IDS = [[1, 1, 2.5, 1.0], [2, 1, 3.5, 0.0]] * 3


def build(folder, text: str | bytes, columns=COLUMNS, **changes) -> list[list]:
    """The encoded rows of one file."""
    (folder / "hard").mkdir()
    (folder / "hard" / "all.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    config = {"train_data": "all.csv", "feature_cols": columns, "label_col": {"name": "label"}}
    built = build_dataset(make_spec("hard", {**config, **changes}), Places(data_root=folder), log=quiet)
    return [list(row) for row in pl.read_parquet(built.train).iter_rows()]


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n"),
        GOOD[:-1],
        GOOD + "\n\r\n\n",
        GOOD.replace("u1", '"u1"').replace(",2.5,", ',"2.5",'),
        GOOD.replace("user,item", '"user","item"'),
        GOOD.replace("u1,1", "u1, 1"),
        GOOD.replace("u2", '"u2 ""x"", a\nb"'),
    ],
    ids="plain bom crlf no-last-end blank-end quoted quoted-header blank-before-number hard-text".split(),
)
def test_files_with_one_clear_meaning(tmp_path, text):
    assert build(tmp_path, text) == IDS


def test_a_bom_before_a_quoted_name_with_line_ends_of_windows(tmp_path):
    text = b"\xef\xbb\xbf" + GOOD.replace("user", '"user"').replace("\n", "\r\n").encode()
    assert build(tmp_path, text) == IDS


@pytest.mark.parametrize("name", ["us,er", "us er", "us\ner", " user"])
def test_names_of_columns_that_need_quotes(tmp_path, name):
    text = GOOD.replace("user", '"' + name.replace('"', '""') + '"')
    assert build(tmp_path, text, columns=[{"name": name}, *COLUMNS[1:]]) == IDS


def test_nan_is_a_missing_number(tmp_path):
    columns = [*COLUMNS[:2], {**COLUMNS[2], "fill_na": 7}]
    assert build(tmp_path, GOOD + "u1,1,nan,1\nu1,1,,1\n", columns=columns)[-2:] == [[1, 1, 7, 1]] * 2


PLACE = "all.csv', "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + HEADER + BODY, PLACE + "line 8 repeats the header, as where files are joined: remove it"),
        (GOOD.replace("label", "label,item").replace(".5", ".5,1"),
         "all.csv' has 2 columns 'item': rename all but one"),
        (GOOD + "u1,1\n" + BODY,
         PLACE + "line 8 has 2 fields, but the header has 4 columns: correct or remove"),
        (GOOD + "u1,1,1,1,5\n" + BODY, PLACE + "line 8 has 5 fields, but the header has 4 columns"),
        (GOOD + "u1,1,1,1,\n", PLACE + "line 8 has 5 fields"),
        (GOOD + "u1,1,1,1,5\nu1,1,1\n", PLACE + "line 8 has 5 fields"),
        (GOOD + "u1\0,1,1,1\n", PLACE + "line 8 holds a NUL byte, which no text has: remove it"),
        (GOOD.replace("item", "it\0em"), PLACE + "line 1 holds a NUL byte"),
        (GOOD + "a, b,1,1,1\n", "a text that holds ',' must be in quotes"),
        (GOOD + "\n" + BODY, PLACE + "line 8 is blank: remove it"),
        (HEADER + "\n" + BODY, PLACE + "line 2 is blank: remove it"),
        (GOOD.replace("u2", '"a\nb"') + "u1,1\n", PLACE + "line 11 has 2 fields"),
        (GOOD.encode() + b"M\xfcller,1,1,1\n",
         PLACE + "line 8: byte 0xfc is not UTF-8 text: convert the file"),
        (GOOD.encode().replace(b"user", b"\xfcser"), PLACE + "line 1: byte 0xfc is not UTF-8 text"),
        (GOOD.encode("utf-16"), "all.csv' is UTF-16 text: convert it to UTF-8"),
        (GOOD.replace("\n", "\r"), "all.csv' ends its lines with CR alone: convert them to LF"),
        (GOOD + "u1,1,1e400,1\n",
         PLACE + "line 8: column 'price' is inf (infinite, or too large for a number)"),
        (GOOD + "u1,1,1,-inf\n", PLACE + "line 8: label 'label' is -inf (infinite"),
        (GOOD + "u1,1,1,nan\n", PLACE + "line 8: label 'label' is missing or not a finite number"),
        (GOOD + "u1,1,\\N,1\n",
         "line 8: column 'price' holds '\\N', which is not a number; leave missing cells"),
        (GOOD + "u1,NULL,1,1\n", "line 8: column 'item' holds 'NULL', which is not an integer; leave"),
        (GOOD + "u1,1.5,1,1\n", "line 8: column 'item' holds '1.5', which is not an integer; clean the file"),
        (GOOD + "u1,99999999999999999999,1,1\n", "holds '99999999999999999999', which is not an integer"),
        (GOOD + '"u1,1,1,1\n' + BODY,
         PLACE + "line 8: a quote is opened and never closed: close it, or double"),
        (GOOD + '5" disk,1,1,1\n' + BODY, PLACE + "line 8: a quote is opened and never closed"),
        (GOOD.replace(",", ";"), "has one column 'user;item;price;label', split at ',': set separator: ';'"),
        (GOOD.replace(",", "\t"), "set separator: '\\t'"),
        ("", "all.csv' is empty (0 bytes)"),
        ("\n\n", PLACE + "line 1 is blank: it must name the columns"),
        (HEADER, "all.csv' has no rows"),
        (HEADER[:-1], "all.csv' has no rows"),
        (b"\x1f\x8b\x08\x00" + b"x" * 40, "all.csv' is compressed (gzip): unpack it first"),
        (b"PK\x03\x04" + b"x" * 40, "all.csv' is compressed (zip): unpack it first"),
        (b"PAR1" + b"x" * 40, "all.csv' is a parquet file: set data_format: parquet"),
    ],
)  # fmt: skip
def test_one_sentence_says_what_and_where(tmp_path, text, message):
    with pytest.raises(RequestError) as caught:
        build(tmp_path, text)
    (problem,) = caught.value.problems
    assert message in problem


@pytest.mark.parametrize("size", [20, 64, 1000])
def test_lines_are_counted_over_blocks(tmp_path, monkeypatch, size):
    monkeypatch.setattr(reading, "BLOCK_BYTES", size)
    text = HEADER + BODY * 20 + '"a\n\nb",1,1,1\n' + BODY * 20 + "u1,1\n" + BODY
    with pytest.raises(RequestError, match=r"line 245 has 2 fields"):
        build(tmp_path, text)


@pytest.mark.parametrize("more", ["u1,1,1,1,5\n", "u1,1,1,1,5\nu1,1,1\n", '"u,1",1,1,1,5\n'])
def test_fields_beyond_the_columns_that_are_read(tmp_path, more):
    """Where polars reads only some columns, it does not mind how many fields follow."""
    text = (GOOD + more).replace("price,label", "label,price")
    with pytest.raises(RequestError, match="line 8 has 5 fields, but the header has 4 columns"):
        build(tmp_path, text, columns=COLUMNS[:2])


@pytest.mark.parametrize("size", [20, 64, 1000])
def test_cells_are_counted_in_lines(tmp_path, monkeypatch, size):
    """A row is where an editor shows it, texts of several lines before it or not."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", size)
    text = HEADER + BODY * 20 + '"a\n\nb",1,1,1\n' * 2 + BODY + "u1,1,x,1\n"
    with pytest.raises(RequestError, match="line 134: column 'price' holds 'x'"):
        build(tmp_path, text)
    (tmp_path / "again").mkdir()
    with pytest.raises(RequestError, match="line 134: label 'label' is 2.0"):
        build(tmp_path / "again", text.replace("x,1", "1,2"))


def test_the_fast_look_at_the_shape_sees_what_the_slow_one_sees():
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choice(["a", ",", ",", "\n", '"a,\n"', '"b"", "', "\r\n"]) for _ in range(9))
        if text.strip("\r\n"):
            whole = csv_text.misshapen(text.encode(), ",", 3) is None
            assert csv_text.in_shape(text.encode(), ",", 3) == whole, text


def test_missing_fields_are_found_behind_quoted_separators(tmp_path):
    """Texts with commas hide a short row from a count of commas."""
    text = GOOD.replace("u1", '"u,1"') + "u1,1,1\n"
    columns = [{"name": "label2"}, *COLUMNS[:2]]
    text = text.replace("price,label", "label,label2")
    with pytest.raises(RequestError, match="line 8 has 3 fields, but the header has 4 columns"):
        build(tmp_path, text, columns=columns)


def test_a_missing_last_cell_is_no_missing_field(tmp_path):
    text = "user,item,label,note\n" + '"u,1",1,1,x\nu1,1,0,\n' * 2
    rows = build(tmp_path, text, columns=[*COLUMNS[:2], {"name": "note"}])
    assert [row[2] for row in rows] == [1, 2, 1, 2]


def test_a_quote_that_swallows_the_file_is_noticed_early(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 100)
    monkeypatch.setattr(csv_text, "LONGEST_ROW", 1000)
    with pytest.raises(RequestError, match="line 8: a quote is opened and never closed"):
        build(tmp_path, GOOD + '"' + BODY * 1000)


def test_a_separator_of_two_characters_is_refused(tmp_path):
    with pytest.raises(RequestError, match="separator '::': CSV is split at a single character"):
        build(tmp_path, GOOD, separator="::")


def test_parquet_with_repeated_names(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table([[1], [2], [1]], names=["item", "item", "label"])
    (tmp_path / "hard").mkdir()
    pq.write_table(table, tmp_path / "hard" / "all.parquet")
    config = {"train_data": "all.parquet", "data_format": "parquet", "label_col": {"name": "label"}}
    spec = make_spec("hard", {**config, "feature_cols": [{"name": "item"}]})
    with pytest.raises(RequestError, match=r"all.parquet' has 2 columns 'item': rename all but one"):
        build_dataset(spec, Places(data_root=tmp_path), log=quiet)
