"""YAML as plain data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.yaml_files import parse_yaml, read_yaml, to_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2.5e-3", -2.5e-3),
        (".5e1", 5.0),
        ("0.1", 0.1),
        ("1e", "1e"),
        ("e5", "e5"),
        ("123e", "123e"),
        ("7", 7),
        ("'1e-5'", "1e-5"),
        ("null", None),
        ("[1e-3, a]", [1e-3, "a"]),
    ],
)
def test_scalars(text, value):
    parsed = parse_yaml(text, "here")
    assert parsed == value and type(parsed) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_python_floats_survive(number):
    assert parse_yaml(repr(number), "here") == number


@pytest.mark.parametrize(
    "digest", ["1e234567", "123e4567", "00000e12", "12345678", "0x123456", "1234567890123e45"]
)
def test_a_hash_that_looks_like_a_number_stays_text(digest):
    assert parse_yaml(to_yaml({"config_digest": digest}), "here") == {"config_digest": digest}


_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="ascii"))
)
_HASHES = st.from_regex(r"[0-9]{1,6}e[0-9]{1,6}", fullmatch=True)


@given(st.dictionaries(st.text("abc", min_size=1), _PLAIN | _HASHES | st.lists(_PLAIN | _HASHES)))
def test_what_is_written_is_what_is_read(value):
    assert parse_yaml(to_yaml(value), "here") == value


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch hacked']",
        "a: !!python/name:os.system",
        "a: !custom 3",
        "!!python/object:fuxictr.features.FeatureMap {}",
    ],
)
def test_tags_are_refused_with_file_and_line(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model_config.yaml"
    file.write_text(f"# a comment\n{text}\n")
    with pytest.raises(RequestError) as caught:
        read_yaml(file)
    assert f"{file}, line 2" in str(caught.value) and "tag" in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def test_a_key_that_stands_twice(tmp_path):
    file = tmp_path / "model_config.yaml"
    file.write_text("Base:\n    epochs: 1\n    epochs: 2\n")
    with pytest.raises(RequestError, match="line 3: the key 'epochs' stands twice"):
        read_yaml(file)


def test_merge_keys_may_be_overridden(tmp_path):
    file = tmp_path / "model_config.yaml"
    file.write_text("a: &a {x: 1, y: 2}\nb:\n    <<: *a\n    x: 3\n")
    assert read_yaml(file)["b"] == {"x": 3, "y": 2}


@pytest.mark.parametrize("text", ["a: [1, 2", "a: b: c", "\tx: 1", "a: 'open"])
def test_broken_yaml_names_the_file(tmp_path, text):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match="broken.yaml.*not valid YAML"):
        read_yaml(file)


def test_other_unreadable_files(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    (tmp_path / "control.yaml").write_bytes(b"a: \x01\n")
    for name, reason in {
        "list.yaml": "found a list",
        "latin.yaml": "not UTF-8",
        "control.yaml": "not valid YAML",
        "absent.yaml": "No such file",
    }.items():
        with pytest.raises(RequestError, match=reason):
            read_yaml(tmp_path / name)


def test_an_empty_file_is_an_empty_mapping(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}
