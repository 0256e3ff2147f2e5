"""Running a recipe: all files or none, whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import polars as pl
import pytest

from fuxictr_qnn.data import recipes
from fuxictr_qnn.data.download import sizes
from fuxictr_qnn.data.recipes import making
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError, RunError


def write(sources: dict[str, Path], folder: Path, log) -> dict[str, Counts]:
    """One file as it is, one upside down."""
    text = sources["words"].read_text()
    (folder / "a.txt").write_text(text)
    if "fail" in text:
        raise OSError(28, "No space left on device")
    if "full" in text:
        pl.DataFrame({"a": range(9)}).write_parquet("/dev/full")
    if "refuse" in text:
        raise RequestError("these words are of another dataset")
    if "kill" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "b.txt").write_text(text[::-1])
    return {"a.txt": Counts(1, 1), "b.txt": Counts(1)}


RECIPE = Recipe("words in words.txt", {"words": ("words.txt", "text.txt")}, ("a.txt", "b.txt"), write)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(recipes.RECIPES, "words", RECIPE)
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "words.txt").write_text("new")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with the files of an earlier call."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "other.txt"):
        (folder / name).write_text("old")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


OLD = {"a.txt": "old", "b.txt": "old", "other.txt": "old"}


def test_files_and_what_they_hold(raw, tmp_path):
    lines = []
    made = recipes.prepare("words", raw, tmp_path / "new" / "data", lines.append)
    assert made == {name: tmp_path / "new" / "data" / name for name in ("a.txt", "b.txt")}
    assert contents(tmp_path / "new" / "data") == {"a.txt": "new", "b.txt": "wen"}
    assert [line.split(": ")[1] for line in lines] == ["1 rows, 100.00 % positive", "1 rows"]


def test_old_files_stay_without_force(raw, old):
    with pytest.raises(RequestError, match="has a.txt, b.txt already; --force"):
        recipes.prepare("words", raw, old)
    assert contents(old) == OLD
    recipes.prepare("words", raw, old, force=True)
    assert contents(old) == {"a.txt": "new", "b.txt": "wen", "other.txt": "old"}


@pytest.mark.parametrize(
    ("text", "error"), [("fail", RunError), ("full", RunError), ("refuse", RequestError)]
)
def test_a_failure_midway_changes_nothing(raw, old, tmp_path, text, error):
    (raw / "words.txt").write_text(text)
    with pytest.raises(error):
        recipes.prepare("words", raw, old, force=True)
    assert contents(old) == OLD
    with pytest.raises(error):
        recipes.prepare("words", raw, tmp_path / "new" / "data")
    assert not (tmp_path / "new").exists()


NEW = {"a.txt": "new", "b.txt": "wen", "other.txt": "old"}
RENAMES = 7  # two files: ready, the old ones aside, that done, the new ones in


def at_rename(number: int, act) -> None:
    """Let `act` come before a rename, numbered from 0."""
    rename, numbers = os.rename, iter(range(RENAMES))

    def renaming(source, target):
        if next(numbers) == number:
            act()
        rename(source, target)

    making.os.rename = renaming


@pytest.mark.parametrize("number", range(RENAMES))
def test_a_failure_while_renaming_leaves_the_old_files_or_the_new_ones(raw, old, monkeypatch, number):
    def fail():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(making.os, "rename", os.rename)  # put back afterwards
    at_rename(number, fail)
    with pytest.raises(RunError):
        recipes.prepare("words", raw, old, force=True)
    assert contents(old) == (OLD if number < 5 else NEW)


def prepare_and_die(raw: Path, folder: Path, number: int) -> None:
    at_rename(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    making.make(RECIPE, raw, folder, print, force=True)


@pytest.mark.parametrize("number", range(RENAMES))
def test_a_kill_while_renaming_is_put_right_by_the_next_call(raw, old, number):
    process = multiprocessing.get_context("fork").Process(target=prepare_and_die, args=(raw, old, number))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    there = {name: (old / name).read_text() for name in OLD if (old / name).exists()}
    assert there.items() <= OLD.items() or there.items() <= NEW.items()  # files are missing, never mixed
    with pytest.raises(RequestError, match="has a.txt, b.txt already"):
        recipes.prepare("words", raw, old)
    assert contents(old) == (OLD if number < 5 else NEW)


def test_a_kill_midway_leaves_the_old_files(raw, old):
    (raw / "words.txt").write_text("kill")
    process = multiprocessing.get_context("fork").Process(
        target=making.make, args=(RECIPE, raw, old, print, True)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert {name: (old / name).read_text() for name in OLD} == OLD
    assert list(old.glob(making.TEMPORARY + "*"))
    (raw / "words.txt").write_text("new")
    recipes.prepare("words", raw, old, force=True)
    assert contents(old) == NEW  # and no leftovers


def test_raw_files_by_another_name_and_one_folder_below(raw, tmp_path):
    (raw / "unpacked").mkdir()
    (raw / "words.txt").rename(raw / "unpacked" / "text.txt")
    recipes.prepare("words", raw, tmp_path / "data")
    assert (tmp_path / "data" / "a.txt").read_text() == "new"


def test_what_is_missing_is_named(raw, tmp_path):
    (raw / "words.txt").rename(raw / "words.txt.gz")
    with pytest.raises(RequestError, match="lacks words.txt or text.txt; .* words.txt.gz lies there packed"):
        recipes.prepare("words", raw, tmp_path / "data")
    with pytest.raises(RequestError, match="no such folder"):
        recipes.prepare("words", raw / "nowhere", tmp_path / "data")
    with pytest.raises(RequestError, match="is a file: name the folder"):
        recipes.prepare("words", raw / "words.txt.gz", tmp_path / "data")
    with pytest.raises(RequestError, match="unknown recipe 'word'.* Did you mean 'words'"):
        recipes.prepare("word", raw, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_two_copies_of_a_raw_file_are_ambiguous(raw, tmp_path):
    (raw / "text.txt").write_text("other")
    with pytest.raises(RequestError, match="more than once"):
        recipes.prepare("words", raw, tmp_path / "data")


def test_raw_files_are_never_overwritten(raw, monkeypatch):
    same = Recipe("words", {"words": ("words.txt",)}, ("words.txt",), write)
    monkeypatch.setitem(recipes.RECIPES, "words", same)
    with pytest.raises(RequestError, match="is a raw file and would be overwritten"):
        recipes.prepare("words", raw, raw, force=True)
    assert (raw / "words.txt").read_text() == "new"


def test_no_room(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 1)
    with pytest.raises(RequestError, match="the recipe needs 3 B, but the disk .* has only 1 B free"):
        recipes.prepare("words", raw, tmp_path / "data")


def test_a_folder_that_cannot_be_made(raw, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="file' is a file, not a folder: set --data-root"):
        recipes.prepare("words", raw, tmp_path / "file" / "data")


def test_every_recipe_says_what_it_is():
    for name, recipe in recipes.RECIPES.items():
        assert recipe.source and recipe.needs and recipe.makes, name
        assert not set(recipe.needs) & set(recipe.uses), name
