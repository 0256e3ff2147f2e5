"""Getting a dataset: right bytes under its names, whatever servers, archives and disks do."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from file_server import FileServer, Served

from fuxictr_qnn.data import find_build, open_dataset
from fuxictr_qnn.data.download import get as getting
from fuxictr_qnn.data.download import http, sizes, wheel
from fuxictr_qnn.data.download.checksum import same_lines
from fuxictr_qnn.data.download.failure import SourceFailed
from fuxictr_qnn.data.download.get import get_dataset
from fuxictr_qnn.data.download.plan import download_hint
from fuxictr_qnn.data.download.sizes import size_text
from fuxictr_qnn.data.download.unpacking import unpack
from fuxictr_qnn.data.origin import Expected, Source
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.quality.audit.opening import open_rows
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec, LabelSpec
from fuxictr_qnn.errors import RequestError, RunError

FILES = {
    "train.csv": b"label,user\n" + b"".join(b"%d,u%d\n" % (row % 2, row) for row in range(20_000)),
    "valid.csv": b"label,user\n1,u1\n",
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http, "PAUSE", 0.01)
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
    monkeypatch.setattr(http, "CHUNK", 1000)
    server = FileServer()
    yield server
    server.close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def spec_of(*sources: dict, checked: bool = True, **origin) -> DatasetSpec:
    facts = {"home": "https://example.org/shop", "licence": "for research", "download": 70_000}
    return DatasetSpec(
        dataset_id="shop",
        train_data="shop/train.csv",
        valid_data="shop/valid.csv",
        origin=facts | {"sources": list(sources)} | origin,
        expected={"md5": {name: md5(content) for name, content in FILES.items()}} if checked else None,
    )


def found(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Log(list):
    __call__ = list.append


class TestOneFile:
    """`http.fetch`."""

    content = FILES["train.csv"]

    def fetch(self, server: FileServer, folder: Path, **how) -> bytes:
        server.files.setdefault("/f", Served(self.content, **how))
        http.fetch(f"{server.url}/f", folder / "f.part", lambda line: None)
        return (folder / "f.part").read_bytes()

    def test_whole(self, server, tmp_path):
        assert self.fetch(server, tmp_path) == self.content
        assert server.requests == [("GET", "/f", None)]

    def test_truncated_is_resumed(self, server, tmp_path):
        assert self.fetch(server, tmp_path, truncate=2) == self.content
        ranges = [wanted for _, _, wanted in server.requests]
        assert ranges[0] is None and ranges[1].startswith("bytes=") and len(ranges) == 3

    def test_truncated_where_ranges_are_refused_begins_again(self, server, tmp_path):
        assert self.fetch(server, tmp_path, truncate=2, ranges=False) == self.content

    def test_always_truncated_ends(self, server, tmp_path):
        with pytest.raises(SourceFailed, match=r"tries"):
            self.fetch(server, tmp_path, truncate="always", ranges=False)
        assert len(server.requests) < 10

    def test_a_later_call_goes_on(self, server, tmp_path):
        with pytest.raises(SourceFailed):
            self.fetch(server, tmp_path, truncate="always", ranges=False)
        half = (tmp_path / "f.part").stat().st_size
        server.files["/f"] = Served(self.content)
        assert self.fetch(server, tmp_path) == self.content
        assert server.requests[-1][2] == f"bytes={half}-"

    def test_another_file_by_now_begins_again(self, server, tmp_path):
        with pytest.raises(SourceFailed):
            self.fetch(server, tmp_path, truncate="always", ranges=False)
        server.files["/f"] = Served(b"new" + self.content)
        assert self.fetch(server, tmp_path) == b"new" + self.content

    def test_bytes_of_unknown_origin_are_not_used(self, server, tmp_path):
        (tmp_path / "f.part").write_bytes(b"something else")
        assert self.fetch(server, tmp_path) == self.content

    def test_complete_part_is_not_asked_for_again(self, server, tmp_path):
        self.fetch(server, tmp_path)
        assert self.fetch(server, tmp_path) == self.content
        assert server.requests[-1][2] == f"bytes={len(self.content)}-"

    def test_redirect(self, server, tmp_path):
        server.files["/f"] = Served(b"", redirect="/g")
        server.files["/g"] = Served(self.content)
        assert self.fetch(server, tmp_path) == self.content

    def test_redirect_in_circles(self, server, tmp_path):
        with pytest.raises(SourceFailed, match="circles"):
            self.fetch(server, tmp_path, redirect="/f")

    def test_stall_is_resumed(self, server, tmp_path):
        assert self.fetch(server, tmp_path, stalls=1) == self.content

    def test_error_500_may_pass(self, server, tmp_path):
        assert self.fetch(server, tmp_path, statuses=[500, 503]) == self.content

    @pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, http.TRIES)])
    def test_errors_that_stay(self, server, tmp_path, status, requests):
        with pytest.raises(SourceFailed, match=str(status)):
            self.fetch(server, tmp_path, statuses=[status] * 9)
        assert len(server.requests) == requests

    def test_nobody_answers(self, tmp_path, monkeypatch):
        monkeypatch.setattr(http, "PAUSE", 0.01)
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/f"
            with pytest.raises(SourceFailed, match="no connection"):
                http.fetch(url, tmp_path / "f.part", print)

    def test_no_room_is_said_before(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(sizes, "free_bytes", lambda folder: 10)
        with pytest.raises(RequestError, match="has only 10 B free"):
            self.fetch(server, tmp_path)

    def test_full_disk(self, server, tmp_path, monkeypatch):
        def full(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(http, "open", full, raising=False)
        with pytest.raises(RunError, match="full: make room"):
            self.fetch(server, tmp_path)


class TestArchives:
    members = {"shop/train.csv": b"a\n", "shop/valid.csv": b"b\n", "__MACOSX/shop/train.csv": b"junk"}

    def unpacked(self, tmp_path: Path, name: str, content: bytes, members: dict) -> dict[str, bytes]:
        (tmp_path / "archive.part").write_bytes(content)
        unpack(tmp_path / "archive.part", name, tmp_path / "out", members)
        return found(tmp_path / "out")

    def tarred(self, info: tarfile.TarInfo | None = None) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for name, content in self.members.items():
                one = tarfile.TarInfo(name)
                one.size = len(content)
                archive.addfile(one, io.BytesIO(content))
            if info:
                archive.addfile(info)
        return buffer.getvalue()

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
    def test_members_by_the_end_of_their_path(self, tmp_path, name):
        content = zipped(self.members) if name == "a.zip" else self.tarred()
        files = self.unpacked(tmp_path, name, content, {"train.csv": "t.csv", "shop/valid.csv": "x/v.csv"})
        assert files == {"t.csv": b"a\n", "x/v.csv": b"b\n"}

    def test_all_members(self, tmp_path):
        files = self.unpacked(tmp_path, "a.zip", zipped(self.members), {})
        assert files == {"shop/train.csv": b"a\n", "shop/valid.csv": b"b\n"}

    def test_gz(self, tmp_path):
        assert self.unpacked(tmp_path, "a.csv.gz", gzip.compress(b"a\n"), {}) == {"a.csv": b"a\n"}

    def test_missing_member(self, tmp_path):
        with pytest.raises(SourceFailed, match="holds no tset.csv, but shop/train.csv"):
            self.unpacked(tmp_path, "a.zip", zipped(self.members), {"tset.csv": "test.csv"})

    @pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil"])
    def test_nothing_leaves_the_folder(self, tmp_path, path):
        with pytest.raises(SourceFailed, match="outside"):
            self.unpacked(tmp_path, "a.zip", zipped({path: b"x"}), {})
        with pytest.raises(SourceFailed, match="outside"):
            self.unpacked(tmp_path, "a.zip", zipped({"f": b"x"}), {"f": path})
        assert found(tmp_path).keys() == {"archive.part"}

    def test_links_are_left_out(self, tmp_path):
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        assert "link" not in self.unpacked(tmp_path, "a.tgz", self.tarred(link), {})

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("a.zip", b"PK\x03\x04 and then nothing", "damaged"),
            ("a.zip", b"<!DOCTYPE html><title>Log in</title>", "web page"),
            ("a.tar.gz", gzip.compress(b"x" * 2000)[:-9], "damaged"),
            ("a.csv.gz", gzip.compress(b"x" * 2000)[:-9], "damaged"),
            ("a.csv.gz", b"plain text", "damaged"),
        ],
        # The bytes of gzip hold the time: as names they would differ between pytest's workers.
        ids=["zip", "web page", "tar", "gzip", "plain text"],
    )
    def test_damaged(self, tmp_path, name, content, said):
        with pytest.raises(SourceFailed, match=said):
            self.unpacked(tmp_path, name, content, {})

    def test_bad_bytes_in_a_member(self, tmp_path):
        content = bytearray(zipped({"f": os.urandom(1000)}))
        content[500] ^= 1
        with pytest.raises(SourceFailed, match="damaged"):
            self.unpacked(tmp_path, "a.zip", bytes(content), {})

    def test_no_room(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sizes, "free_bytes", lambda folder: 3)
        with pytest.raises(RequestError, match="unpacking a.zip needs 4 B"):
            self.unpacked(tmp_path, "a.zip", zipped(self.members), {})


class TestDataset:
    """`get_dataset` from URLs."""

    def archive(self, server: FileServer, path: str = "/shop.zip", **how) -> dict:
        content = zipped({f"Shop/{name}": content for name, content in FILES.items()})
        server.files[path] = Served(content, **how)
        return {"url": f"{server.url}{path}"}

    def single_files(self, server: FileServer, **changed: bytes) -> dict:
        for name, content in FILES.items():
            server.files[f"/files/{name}"] = Served(changed.get(name.partition(".")[0], content))
        return {"url": f"{server.url}/files/", "unpack": {name: name for name in FILES}}

    def test_from_an_archive(self, server, tmp_path):
        log = Log()
        files = get_dataset(spec_of(self.archive(server)), tmp_path, log)
        assert found(tmp_path / "shop") == FILES
        assert files == [tmp_path / "shop" / name for name in FILES]
        assert "about 70.0 kB" in log[0] and "licence: for research" in log[1]

    def test_from_single_files_without_md5(self, server, tmp_path):
        get_dataset(spec_of(self.single_files(server), checked=False), tmp_path, Log())
        assert found(tmp_path / "shop") == FILES

    def test_what_is_there_is_kept(self, server, tmp_path):
        spec = spec_of(self.archive(server))
        get_dataset(spec, tmp_path, Log())
        asked = len(server.requests)
        get_dataset(spec, tmp_path, log := Log())
        assert len(server.requests) == asked and log[0].startswith("shop is there: train.csv, valid.csv")
        get_dataset(spec, tmp_path, Log(), force=True)
        assert len(server.requests) > asked

    def test_only_the_missing_file_is_downloaded(self, server, tmp_path):
        spec = spec_of(self.single_files(server))
        get_dataset(spec, tmp_path, Log())
        (tmp_path / "shop/valid.csv").unlink()
        server.requests.clear()
        get_dataset(spec, tmp_path, Log())
        assert [path for _, path, _ in server.requests] == ["/files/valid.csv"]
        assert found(tmp_path / "shop") == FILES

    def test_the_next_source_is_tried(self, server, tmp_path):
        log = Log()
        bad = {"url": f"{server.url}/nowhere.zip"}
        get_dataset(spec_of(bad, self.archive(server)), tmp_path, log)
        assert found(tmp_path / "shop") == FILES
        failed = [line for line in log if "404" in line]
        assert len(failed) == 1 and failed[0].startswith(
            f"source 1 ({server.url}/nowhere.zip): 404 Not Found"
        )

    def test_wrong_md5_is_kept_aside(self, server, tmp_path):
        wrong = self.single_files(server, valid=b"other")
        log = Log()
        get_dataset(spec_of(wrong, self.archive(server)), tmp_path, log)
        assert found(tmp_path / "shop") == FILES | {"valid.csv.wrong-md5": b"other"}
        assert any(f"has md5 {md5(b'other')}, not the expected" in line for line in log)

    def test_wrong_md5_of_the_archive(self, server, tmp_path):
        source = self.archive(server, corrupt=True) | {"md5": md5(b"")}
        with pytest.raises(RunError, match=r"shop.zip has md5 .* kept as .*shop.zip.wrong-md5"):
            get_dataset(spec_of(source), tmp_path, Log())
        assert found(tmp_path / "shop").keys() == {"shop.zip.wrong-md5"}

    def test_corrupt_archive_is_not_kept(self, server, tmp_path):
        with pytest.raises(RunError, match="damaged"):
            get_dataset(spec_of(self.archive(server, corrupt=True)), tmp_path, Log())
        assert found(tmp_path) == {}

    def test_right_files_of_a_source_that_failed_are_kept(self, server, tmp_path):
        with pytest.raises(RunError):
            get_dataset(spec_of(self.single_files(server, valid=b"x")), tmp_path, Log())
        assert found(tmp_path / "shop").keys() == {"train.csv", "valid.csv.wrong-md5"}

    def test_other_line_ends_are_said(self, server, tmp_path):
        with_crlf = FILES["valid.csv"].replace(b"\n", b"\r\n")
        source = self.single_files(server, valid=with_crlf)
        with pytest.raises(RunError, match="only its line ends differ"):
            get_dataset(spec_of(source), tmp_path, Log())
        os.rename(tmp_path / "shop/valid.csv.wrong-md5", tmp_path / "shop/valid.csv")
        get_dataset(spec_of(source), tmp_path, log := Log())
        assert log[0].endswith("kept") and "line ends" in log[0]

    def test_a_file_of_ones_own_is_not_replaced(self, server, tmp_path):
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop/train.csv").write_bytes(b"mine")
        spec = spec_of(self.archive(server))
        with pytest.raises(RequestError, match="--force replaces it"):
            get_dataset(spec, tmp_path, Log())
        assert found(tmp_path / "shop") == {"train.csv": b"mine"} and not server.requests
        get_dataset(spec, tmp_path, Log(), force=True)
        assert found(tmp_path / "shop") == FILES

    def test_interrupted_part_goes_on_next_time(self, server, tmp_path):
        source = self.archive(server, truncate="always", ranges=False)
        with pytest.raises(RunError, match="the connection ended after|no connection|IncompleteRead|bytes"):
            get_dataset(spec_of(source), tmp_path, Log())
        assert (tmp_path / "shop/shop.zip.part").is_file()
        get_dataset(spec_of(self.archive(server)), tmp_path, Log())
        assert server.requests[-1][2] is not None and found(tmp_path / "shop") == FILES

    def test_every_failure_is_listed(self, server, tmp_path):
        sources = {"url": f"{server.url}/a.zip"}, {"url": f"{server.url}/b.zip"}
        with pytest.raises(RunError) as caught:
            get_dataset(spec_of(*sources), tmp_path, Log())
        lines = str(caught.value).splitlines()
        assert "no source worked" in lines[0] and len(lines) == 4
        assert ["source 1" in lines[1], "source 2" in lines[2]] == [True, True]
        assert "by hand: get train.csv, valid.csv (home: https://example.org/shop" in lines[3]
        assert f"go to '{tmp_path}/shop', then `fuxictr data check shop --data-root {tmp_path}`" in lines[3]
        assert list(tmp_path.iterdir()) == []

    def test_only_one_source(self, server, tmp_path):
        good = self.archive(server)
        with pytest.raises(RunError, match="404"):
            get_dataset(spec_of({"url": f"{server.url}/a.zip"}, good), tmp_path, Log(), only=1)
        with pytest.raises(RequestError, match="no such source: 1 is http"):
            get_dataset(spec_of(good), tmp_path, Log(), only=2)

    def test_an_archive_without_the_files(self, server, tmp_path):
        server.files["/shop.zip"] = Served(zipped({"readme": b""}))
        with pytest.raises(RunError, match="holds no train.csv, but readme"):
            get_dataset(spec_of({"url": f"{server.url}/shop.zip"}), tmp_path, Log())

    def test_no_room(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(sizes, "free_bytes", lambda folder: 1000)
        with pytest.raises(RequestError, match="shop needs 70.0 kB, but"):
            get_dataset(spec_of(self.archive(server)), tmp_path, Log())
        assert not server.requests and list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written(self, server, tmp_path):
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(RequestError, match="--data-root"):
                get_dataset(spec_of(self.archive(server)), tmp_path, Log())
        finally:
            tmp_path.chmod(0o700)

    def test_leftovers_of_a_killed_process_go(self, server, tmp_path):
        leftover = tmp_path / "shop" / f"{getting.STAGING}1"
        leftover.mkdir(parents=True)
        (leftover / "train.csv").write_bytes(b"half")
        get_dataset(spec_of(self.archive(server)), tmp_path, Log())
        assert found(tmp_path / "shop") == FILES

    def test_unchecked_files_that_are_there_stay(self, server, tmp_path):
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop/train.csv").write_bytes(b"mine")
        for source in (self.archive(server), self.single_files(server)):
            get_dataset(spec_of(source, checked=False), tmp_path, Log())
            assert found(tmp_path / "shop") == FILES | {"train.csv": b"mine"}
            (tmp_path / "shop/valid.csv").unlink()

    def test_two_at_once(self, server, tmp_path):
        spec = spec_of(self.archive(server))
        logs = [Log(), Log()]
        threads = [threading.Thread(target=get_dataset, args=(spec, tmp_path, log)) for log in logs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found(tmp_path / "shop") == FILES and len(server.requests) == 1
        assert sum(any(line.startswith("shop is there") for line in log) for log in logs) == 1


class TestRecipe:
    """Downloaded raw files lie in raw/; the recipe makes the others from them."""

    ratings = "\n".join(f"{user}\t{user % 2 + 1}\t{1 + user % 5}\t1" for user in range(1, 41)) + "\n"
    raw = {
        "u.data": ratings.encode(),
        "u.user": "".join(f"{user}|30|F|writer|1\n" for user in range(1, 41)).encode(),
        "u.item": "".join(f"{item}|A (1990)||||{'|'.join('1' * 19)}\n" for item in (1, 2)).encode(),
    }
    made = ("train.csv", "valid.csv", "test.csv")

    def spec(self, server: FileServer, **changed) -> DatasetSpec:
        server.files["/ml.zip"] = Served(zipped({f"ml-100k/{n}": content for n, content in self.raw.items()}))
        source = {"url": f"{server.url}/ml.zip", "unpack": {f"ml-100k/{name}": name for name in self.raw}}
        spec = spec_of(source, checked=False, recipe="ml_100k")
        return spec.model_copy(update={"test_data": "shop/test.csv"} | changed)

    def test_raw_files_then_the_recipe(self, server, tmp_path):
        get_dataset(self.spec(server), tmp_path, Log())
        assert found(tmp_path / "shop/raw") == self.raw
        assert all((tmp_path / "shop" / name).is_file() for name in self.made)

    def test_what_is_there_is_not_downloaded_again(self, server, tmp_path):
        get_dataset(self.spec(server), tmp_path, Log())
        (tmp_path / "shop/test.csv").unlink()
        with pytest.raises(RequestError, match=r"has train.csv, valid.csv, but not test.csv; --force makes"):
            get_dataset(self.spec(server), tmp_path, Log())
        for name in self.made:
            (tmp_path / "shop" / name).unlink(missing_ok=True)
        get_dataset(self.spec(server), tmp_path, Log())
        assert (tmp_path / "shop/test.csv").is_file() and len(server.requests) == 1
        get_dataset(self.spec(server), tmp_path, Log(), force=True)
        assert len(server.requests) == 2

    def test_made_files_are_checked_too(self, server, tmp_path):
        spec = self.spec(server, expected=Expected(md5={"test.csv": md5(b"")}))
        with pytest.raises(RunError, match=r"the recipe made other files than expected: test.csv has md5"):
            get_dataset(spec, tmp_path, Log())
        assert not (tmp_path / "shop/test.csv").exists()

    def test_raw_files_of_ones_own_are_checked(self, server, tmp_path):
        spec = self.spec(server, expected=Expected(md5={"raw/u.data": md5(self.raw["u.data"])}))
        (tmp_path / "shop/raw").mkdir(parents=True)
        (tmp_path / "shop/raw/u.data").write_bytes(b"another")
        with pytest.raises(RequestError, match="u.data' has md5"):
            get_dataset(spec, tmp_path, Log())
        get_dataset(spec, tmp_path, Log(), force=True)
        assert found(tmp_path / "shop/raw") == self.raw


class TestWithoutDownload:
    def test_data_root_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        for spec in (spec_of({"url": "http://localhost/x.zip"}), spec_of(by_hand="accept the rules")):
            with pytest.raises(RequestError, match="file' is a file, not a folder: set --data-root"):
                get_dataset(spec, tmp_path / "file", Log())

    def test_after_failures_a_mirror_and_the_raw_files(self, tmp_path, monkeypatch):
        def fail(*arguments):
            raise SourceFailed("no network")

        monkeypatch.setattr("fuxictr_qnn.data.download.huggingface.fetch", fail)
        source = {"huggingface": "owner/shop", "file": "shop.zip"}
        with pytest.raises(RunError, match="HF_ENDPOINT") as caught:
            get_dataset(spec_of(source, recipe="ml_100k"), tmp_path, Log())
        assert "get MovieLens-100K: u.data, u.user" in str(caught.value)
        assert f"go to '{tmp_path}/shop/raw', then `fuxictr data prepare shop" in str(caught.value)
        spec = spec_of(source).model_copy(update={"dataset_id": "criteo_x4"})
        with pytest.raises(RunError, match="Or `fuxictr data prepare criteo_x4 --raw DIR` with Criteo's"):
            get_dataset(spec, tmp_path, Log())

    def test_by_hand(self, tmp_path):
        with pytest.raises(RequestError, match=r"by hand: accept the rules.*example.org.*for research"):
            get_dataset(spec_of(by_hand="accept the rules on Kaggle"), tmp_path, Log())

    def test_no_origin(self, tmp_path):
        with pytest.raises(RequestError, match="origin is not set"):
            get_dataset(DatasetSpec(dataset_id="shop", train_data="shop/train.csv"), tmp_path, Log())

    def test_simulated(self, tmp_path):
        spec = DatasetSpec(dataset_id="demo", generator="demo", train_data="demo/train.csv")
        with pytest.raises(RequestError, match="simulated"):
            get_dataset(spec, tmp_path, Log())

    def test_an_unknown_recipe_is_said_before_the_download(self, tmp_path):
        with pytest.raises(RequestError, match="'bread' is no recipe"):
            get_dataset(spec_of({"url": "http://localhost/x"}, recipe="bread"), tmp_path, Log())

    @pytest.mark.parametrize(
        "source",
        [
            {},
            {"huggingface": "a/b"},
            {"url": "https://x/y/"},
            {"url": "file:///etc/passwd"},
            {"pypi": "recbole", "file": "x"},
            {"pypi": "--index-url==x", "file": "x"},
            {"url": "https://x/y", "pypi": "recbole==1.2.1", "file": "x"},
        ],
    )
    def test_sources_that_are_none(self, source):
        with pytest.raises(ValueError):
            Source(**source)


class TestHint:
    @pytest.mark.parametrize("door", [open_dataset, find_build, open_rows])
    @pytest.mark.parametrize("encoded", [False, True])
    def test_missing_data_says_how_to_get_it(self, tmp_path, door, encoded):
        spec = spec_of({"url": "http://localhost/x.zip"})
        if not encoded:
            columns = {"feature_cols": [ColumnSpec(name="user")], "label_col": [LabelSpec(name="label")]}
            spec = spec.model_copy(update=columns)
        places = Places(Path("some data"), config_dir=tmp_path)
        with pytest.raises(RequestError) as caught:
            door(spec, places)
        first, second, *_ = caught.value.problems
        assert first.endswith(
            "; `fuxictr data get shop --data-root 'some data'` downloads 70.0 kB to some data/shop/"
        )
        assert second.endswith("is not there either")

    def test_a_config_of_ones_own_is_named(self, tmp_path):
        spec = spec_of({"url": "http://localhost/x.zip"})
        spec = spec.model_copy(update={"source": str(tmp_path / "dataset_config.yaml")})
        hint = download_hint(spec, Places(config_dir=tmp_path))
        assert f"fuxictr data get shop --config {tmp_path} --data-root data" in hint
        spec = spec.model_copy(update={"source": str(tmp_path / "dataset_config" / "shop.yaml")})
        assert f"get shop --config {tmp_path} --data-root data" in download_hint(spec, Places())

    def test_by_hand_and_without_origin(self):
        assert "says how to get it" in download_hint(spec_of(by_hand="x"), Places())
        assert download_hint(DatasetSpec(dataset_id="shop"), Places()) == ""


@pytest.mark.parametrize("published", [b"a\nb\n", b"a\r\nb\r\n"])
@pytest.mark.parametrize("there", [b"a\nb\n", b"a\r\nb\r\n", b"a\r\nb\n", b"a\nc\n", b"a\nb\r"])
def test_same_lines(tmp_path, monkeypatch, there, published):
    monkeypatch.setattr("fuxictr_qnn.data.download.checksum.CHUNK", 2)  # \r\n on both sides of a cut
    (tmp_path / "f").write_bytes(there)
    assert same_lines(tmp_path / "f", md5(published)) == (
        there.split() == [b"a", b"b"] and there[-1:] == b"\n"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_300_000, "1.3 MB"), (999_999, "1.0 MB"), (4e12, "4.0 TB")],
)
def test_size_text(count, text):
    assert size_text(count) == text


HUB = """
import sys
from pathlib import Path
from fuxictr_qnn.data.download.get import get_dataset
from fuxictr_qnn.data.spec import DatasetSpec

get_dataset(DatasetSpec.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
"""


def test_hugging_face_or_its_mirror(server, tmp_path):
    """In a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    shop = zipped({f"Shop/{name}": content for name, content in FILES.items()})
    # a repository without the archive, one whose archive breaks off once, then stays
    server.files["/datasets/owner/broken/resolve/main/shop.zip"] = Served(shop, corrupt=True)
    server.files["/datasets/owner/shop/resolve/main/shop.zip"] = Served(shop, truncate=1)
    spec = spec_of(
        {"huggingface": "owner/absent", "file": "shop.zip"},
        {"huggingface": "owner/broken", "file": "shop.zip"},
        {"huggingface": "owner/shop", "file": "shop.zip"},
    )
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    environment = os.environ | {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", HUB, str(tmp_path / "spec.json"), str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found(tmp_path / "data" / "shop") == FILES
    first, second = (line for line in done.stdout.splitlines() if line.startswith("source "))
    assert first.startswith("source 1 (Hugging Face: owner/absent, shop.zip)") and "404" in first
    assert second.startswith("source 2 (Hugging Face: owner/broken, shop.zip): shop.zip is damaged")


def test_a_wheel_is_opened_not_installed(tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    info = "shop_data-1.0.dist-info"
    wheels.joinpath("shop_data-1.0-py3-none-any.whl").write_bytes(
        zipped(
            {f"shop_data/{name}": content for name, content in FILES.items()}
            | {
                f"{info}/METADATA": b"Metadata-Version: 2.1\nName: shop-data\nVersion: 1.0\n",
                f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                f"{info}/RECORD": b"",
            }
        )
    )
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(wheels)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    members = {f"shop_data/{name}": name for name in FILES}
    sources = {"pypi": "shop-dada==1.0", "unpack": members}, {"pypi": "shop-data==1.0", "unpack": members}
    get_dataset(spec_of(*sources), tmp_path / "data", log := Log())
    assert found(tmp_path / "data" / "shop") == FILES
    assert any("No matching distribution found for shop-dada==1.0" in line for line in log)


def test_pip_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel.sys, "executable", "/bin/false")
    with pytest.raises(SourceFailed, match="pip: exit code 1"):
        wheel.fetch("recbole==1.2.1", tmp_path)
