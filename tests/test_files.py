"""Files are the old one or the new one; locks belong to processes."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from fuxictr_qnn.files import (
    hash_of,
    is_writable,
    link_or_copy,
    lock_if_free,
    locked,
    new_folder,
    publish_folder,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).parents[1]
HOLD = (
    "import sys; from pathlib import Path; from fuxictr_qnn.files import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); input()"
)


def holder(lock: Path) -> subprocess.Popen:
    """A process that holds the lock until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_writing_replaces_the_whole_file(tmp_path):
    file = tmp_path / "new" / "a.txt"
    write_text(file, "a long first text")
    write_text(file, "ä")
    assert file.read_bytes() == "ä".encode()
    write_json(file, {"a": [1]}, indent=None)
    assert file.read_text() == '{"a": [1]}\n'
    assert [path.name for path in file.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_bytes(file, b"new")
    assert file.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_files_have_the_users_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").touch()
    write_bytes(tmp_path / "ours", b"")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("links", [True, False])
def test_a_link_or_a_copy_in_place_of_what_was_there(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    for _ in range(2):
        link_or_copy(source, target)
        assert target.read_text() == "new" and source.samefile(target) is links
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_publishing_a_folder(tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "a").write_text("1")
    publish_folder(tmp_path / "half", tmp_path / "whole")
    assert (tmp_path / "whole" / "a").read_text() == "1" and not (tmp_path / "half").exists()


def test_a_lock_keeps_others_out_until_its_process_dies(tmp_path):
    lock = tmp_path / "lock"
    process = holder(lock)
    with lock_if_free(lock) as free:
        assert not free
    waited = []

    def kill() -> None:
        waited.append(True)
        process.kill()

    with locked(lock, on_wait=kill):
        assert waited == [True]
    process.wait()
    with lock_if_free(lock) as free:
        assert free
    assert not list(tmp_path.iterdir())  # no lock file is left behind


def test_three_processes_at_a_lock_whose_file_is_removed(tmp_path):
    """One that waited holds the lock that the next one sees, not that of the removed file."""
    lock = tmp_path / "lock"
    first = holder(lock)

    def let_go() -> None:
        first.communicate("go on\n")

    with locked(lock, on_wait=let_go):
        assert lock.exists()
        with lock_if_free(lock) as third:
            assert not third


def test_the_file_that_was_locked_must_still_have_its_name(tmp_path, monkeypatch):
    lock, acquire = tmp_path / "lock", FileLock.acquire
    removed = []

    def acquire_removed(self, **kwargs):
        acquire(self, **kwargs)
        if not removed:  # as if its holder had removed it between our opening and our locking it
            removed.append(lock.unlink())

    monkeypatch.setattr(FileLock, "acquire", acquire_removed)
    with locked(lock), lock_if_free(lock) as free:
        assert removed and not free


def test_waiting_for_a_lock_whose_folder_goes(tmp_path):
    """The first process may have made the folder, failed, and taken it with it."""
    lock = tmp_path / "new" / "lock"
    lock.parent.mkdir()
    process = holder(lock)

    def fail() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(lock.parent)

    with locked(lock, on_wait=fail):
        assert lock.exists()


def test_a_new_folder_goes_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), new_folder(tmp_path / "a" / "b"):
        raise KeyError
    assert not (tmp_path / "a").exists()
    with pytest.raises(KeyError), new_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").touch()
        raise KeyError
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]


def test_is_writable(tmp_path):
    assert is_writable(tmp_path / "not" / "there" / "yet")
    (tmp_path / "closed").mkdir(mode=0o555)
    assert not is_writable(tmp_path / "closed" / "below")
    (tmp_path / "file").touch()
    assert not is_writable(tmp_path / "file")


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_the_hash_of_a_file_larger_than_a_chunk(tmp_path, algorithm):
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "file").write_bytes(content)
    assert hash_of(tmp_path / "file", algorithm) == hashlib.new(algorithm, content).hexdigest()
