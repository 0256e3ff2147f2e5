"""Builds: never half, never stale, never mixed, and what they do beyond FuxiCTR."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_support import SMALL, make_spec, quiet, small_frame, small_spec, write_small

from fuxictr_qnn.data import Places, build_dataset, find_build, fingerprint
from fuxictr_qnn.data.building import build, encoding
from fuxictr_qnn.data.building.build import is_complete
from fuxictr_qnn.data.building.preprocessing import Step, _stages
from fuxictr_qnn.data.raw import reading, splits
from fuxictr_qnn.errors import RequestError, RunError


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a build; build.json without its time."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    facts = json.loads(files["build.json"])
    return files | {"build.json": json.dumps({**facts, "seconds": 0, "files": 0}).encode()}


def test_second_time_reuses_the_build(tmp_path):
    places = write_small(tmp_path)
    assert find_build(small_spec(), places) is None
    first = build_dataset(small_spec(), places, log=quiet)
    second = build_dataset(small_spec(), places, log=quiet)
    assert (first.reused, second.reused) == (False, True)
    assert first.folder == second.folder == tmp_path / "small" / f"built-{first.fingerprint}"
    assert find_build(small_spec(), places) == first.feature_map
    assert first.facts["rows"] == {"train": 200, "valid": 50, "test": 50}
    rate = pl.read_csv(tmp_path / "small" / "train.csv")["label"].mean()
    assert first.facts["positive_rate"]["train"]["label"] == pytest.approx(rate)


def test_checking_a_build_is_fast(tmp_path):
    places = write_small(tmp_path, rows=100_000)
    build_dataset(small_spec(), places, log=quiet)
    started = time.process_time()
    build_dataset(small_spec(), places, log=quiet)
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize(
    "change",
    [
        {"min_categr_count": 3},
        {"feature_cols": SMALL["feature_cols"][:2]},
        {"feature_cols": [{**SMALL["feature_cols"][0], "fill_na": "u1"}, *SMALL["feature_cols"][1:]]},
        {"valid_data": "test.csv"},
        {"test_data": None},
    ],
)
def test_an_edited_config_never_reuses_stale_data(tmp_path, change):
    places = write_small(tmp_path)
    first = build_dataset(small_spec(), places, log=quiet)
    second = build_dataset(small_spec(**change), places, log=quiet)
    assert not second.reused and second.folder != first.folder and is_complete(first.folder)


def test_an_edited_file_never_reuses_stale_data(tmp_path):
    places = write_small(tmp_path)
    file = tmp_path / "small" / "train.csv"
    first = build_dataset(small_spec(), places, log=quiet)
    text = file.read_text()
    file.write_text(text.replace("u3", "u4"))  # the same size
    second = build_dataset(small_spec(), places, log=quiet)
    assert not second.reused and second.fingerprint != first.fingerprint
    file.write_text(text)
    assert build_dataset(small_spec(), places, log=quiet).folder == first.folder


def test_the_time_of_modification_is_no_proof_that_a_file_is_the_same(tmp_path, monkeypatch):
    """Whatever unpacks archives, or copies files with their times, may set it to that of the file before."""
    places = write_small(tmp_path)
    file = tmp_path / "small" / "train.csv"
    now = time.time_ns
    monkeypatch.setattr(fingerprint.time, "time_ns", lambda: now() + 10**10)  # or no hash is kept
    os.utime(file, (1, 1))
    first = build_dataset(small_spec(), places, log=quiet)
    file.write_text(file.read_text().replace("u3", "u4"))
    os.utime(file, (1, 1))
    second = build_dataset(small_spec(), places, log=quiet)
    assert not second.reused and second.fingerprint != first.fingerprint


@pytest.mark.parametrize("content", ["[]", "{", '{"%s": 3}'])
def test_a_damaged_memory_of_hashes_is_made_anew(tmp_path, content):
    places = write_small(tmp_path)
    first = build_dataset(small_spec(), places, log=quiet)
    file = tmp_path / "small" / "train.csv"
    (first.folder.parent / fingerprint.CACHE_NAME).write_text(content.replace("%s", str(file)))
    assert build_dataset(small_spec(), places, log=quiet).folder == first.folder


def test_a_feature_processors_code_is_part_of_the_fingerprint(tmp_path, monkeypatch):
    places = write_small(tmp_path)
    module = tmp_path / "own_functions.py"
    source = (
        "import polars as pl\nclass Own:\n    def first_letter(self, c): return pl.col(c).str.slice(0, 1)\n"
    )
    module.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    columns = [{"name": "user", "preprocess": "first_letter"}]
    spec = small_spec(feature_cols=columns, feature_processor="own_functions:Own")
    first = build_dataset(spec, places, log=quiet)
    assert json.loads((first.folder / "feature_vocab.json").read_text())["user"] == {
        "__PAD__": 0,
        "u": 1,
        "__OOV__": 2,
    }
    module.write_text(source.replace("0, 1", "0, 2"))
    monkeypatch.delitem(sys.modules, "own_functions")
    os.utime(module, (time.time() + 5,) * 2)  # so that Python does not reuse its compiled file
    assert build_dataset(spec, places, log=quiet).fingerprint != first.fingerprint


def test_a_build_with_a_lost_or_damaged_file_is_made_again(tmp_path):
    places = write_small(tmp_path)
    first = build_dataset(small_spec(), places, log=quiet)
    expected = contents(first.folder)
    (first.folder / "valid.parquet").write_bytes(b"PAR1")
    (first.folder / "feature_vocab.json").unlink()
    assert not build_dataset(small_spec(), places, log=quiet).reused
    assert contents(first.folder) == expected


@pytest.mark.parametrize("change", ["rewritten", "gone"])
def test_a_file_that_changes_while_it_is_built(tmp_path, monkeypatch, change):
    """Its build would be named by the old contents, and reused for them."""
    places = write_small(tmp_path)
    file = tmp_path / "small" / "train.csv"
    text = file.read_text()

    def find_sources(*args):
        found = splits.find_sources(*args)
        file.write_text(text.replace("u3", "u4"))
        return found

    def find_and_remove(*args):
        found = encoding.SplitFiles(*args)
        file.unlink()
        return found

    if change == "rewritten":
        monkeypatch.setattr(build, "find_sources", find_sources)
    else:
        monkeypatch.setattr(build, "SplitFiles", find_and_remove)
    with pytest.raises(RunError, match="train.csv' changed while it was being built: run again"):
        build_dataset(small_spec(), places, log=quiet)
    assert {path.name for path in file.parent.iterdir()} <= {"train.csv", "valid.csv", "test.csv"}
    monkeypatch.undo()
    file.write_text(text)
    assert not build_dataset(small_spec(), places, log=quiet).reused


BUILD = """
import sys
from pathlib import Path
sys.path[:0] = [{here!r}, {root!r}]
from data_support import small_spec, quiet
from fuxictr_qnn.data import Places, build_dataset
print("ready", flush=True)
build_dataset(small_spec(), Places(Path({data!r})), log=quiet)
"""


def test_killed_at_any_moment(tmp_path):
    """kill -9 at random moments: then there is no build, or a complete one; and a build is right."""
    places = write_small(tmp_path, rows=300_000)
    calm = build_dataset(small_spec(), write_small(tmp_path / "calm", rows=300_000), log=quiet)
    expected = contents(calm.folder)
    here = Path(__file__).parent
    program = BUILD.format(here=str(here), root=str(here.parents[1]), data=str(places.data_root))
    rng = np.random.default_rng(0)
    for wait in rng.uniform(0, calm.seconds, 5):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for found in (places.data_root / "small").glob("built-*"):
            assert contents(found) == expected
    built = build_dataset(small_spec(), places, log=quiet)
    assert contents(built.folder) == expected
    assert not list(built.folder.parent.glob(".*"))  # neither half-made builds nor locks


def build_and_report(root: Path, results) -> None:
    messages: list[str] = []
    from fuxictr_qnn.data import Places

    built = build_dataset(small_spec(), Places(root), log=messages.append)
    results.put((built.reused, str(built.folder), messages))


def test_two_processes_share_one_build(tmp_path):
    places = write_small(tmp_path, rows=100_000)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=build_and_report, args=(places.data_root, results)) for _ in range(2)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(reused for reused, _, _ in answers) == [False, True]
    assert len({folder for _, folder, _ in answers}) == 1
    assert (
        sum(
            "building" in message
            for _, _, messages in answers
            for message in messages
            if "waiting" not in message
        )
        == 1
    )


def test_leftovers_of_dead_builds_are_removed(tmp_path):
    places = write_small(tmp_path)
    leftover = tmp_path / "small" / ".building-0123456789abcdef"
    leftover.mkdir()
    (leftover / "train.parquet").write_bytes(b"half")
    (tmp_path / "small" / ".building-fedcba9876543210.lock").touch()
    build_dataset(small_spec(), places, log=quiet)
    assert not list((tmp_path / "small").glob(".*"))


def test_blocks_do_not_change_anything(tmp_path, monkeypatch):
    """Many small blocks give what one block gives, quoted line ends included."""
    places = write_small(tmp_path)
    frame = small_frame(3000, seed=5).with_columns(user=pl.col("user") + pl.lit('\n"quoted", '))
    frame.write_csv(tmp_path / "small" / "train.csv")
    whole = contents(build_dataset(small_spec(), places, log=quiet).folder)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1000)
    (tmp_path / "again" / "small").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (tmp_path / "again" / "small" / f"{split}.csv").write_bytes(
            (tmp_path / "small" / f"{split}.csv").read_bytes()
        )
    places = type(places)(data_root=tmp_path / "again")
    built = build_dataset(small_spec(), places, log=quiet)
    blocks = contents(built.folder)
    for name in ("feature_map.json", "feature_vocab.json"):
        assert blocks[name] == whole[name]
    before = pl.read_parquet(tmp_path / "small" / built.folder.name / "train.parquet")
    after = pl.read_parquet(built.train)
    assert before.drop("price").equals(after.drop("price"))
    assert (before["price"] - after["price"]).abs().max() < 1e-6


def test_folders_of_part_files(tmp_path):
    places = write_small(tmp_path)
    folder = tmp_path / "small"
    frame = pl.read_csv(folder / "train.csv")
    (folder / "parts").mkdir()
    for number in range(3):
        frame[number * 70 : (number + 1) * 70].write_csv(folder / "parts" / f"part-{number}.csv")
    one = build_dataset(small_spec(), places, log=quiet)
    many = build_dataset(small_spec(train_data="parts"), places, log=quiet)
    assert pl.read_parquet(one.train).equals(pl.read_parquet(many.train))


MIXED = {
    "data_format": "parquet",
    "train_data": "train",
    "valid_data": "valid.parquet",
    "test_data": None,
    "feature_cols": [
        *SMALL["feature_cols"],
        {"name": "shop", "dtype": "int", "category_processor": "hash_bucket", "num_buckets": 1000},
        {"name": "visitor", "dtype": "int", "type": "meta"},
        {"name": "seen", "type": "sequence", "max_len": 2},
    ],
}


def write_mixed(folder: Path, *types: pl.DataType) -> None:
    """Part files of training in the types, one after another, and valid in the last of them."""
    frame = small_frame(90, 0).with_columns(shop="item", visitor="item")
    (folder / "train").mkdir(parents=True)
    for part, dtype in enumerate(types):
        _typed(frame[part * 30 :][:30], dtype).write_parquet(folder / "train" / f"{part}.parquet")
    _typed(frame, types[-1]).write_parquet(folder / "valid.parquet")


def _typed(frame: pl.DataFrame, dtype: pl.DataType) -> pl.DataFrame:
    numbers = frame.with_columns(pl.col("item", "shop", "visitor", "label").cast(dtype))
    return numbers.with_columns(seen=pl.concat_list("item", pl.lit(None, dtype)))


@pytest.mark.parametrize("types", [(pl.Int64, pl.Int32, pl.Float64), (pl.Int16, pl.Float32, pl.Int64)])
def test_numbers_of_several_types_are_the_same_values(tmp_path, types):
    """As pandas writes them: 7.0 where a cell of the file is missing, and 7 where none is."""
    builds = []
    for name, kinds in (("one", [pl.Int64] * 3), ("several", types)):
        write_mixed(tmp_path / name / "small", *kinds)
        builds.append(build_dataset(small_spec(**MIXED), Places(data_root=tmp_path / name), log=quiet))
    one, several = (contents(each.folder) for each in builds)
    for file in ("train.parquet", "valid.parquet", "feature_vocab.json", "feature_map.json"):
        assert one[file] == several[file]


def test_other_values_in_a_later_part_file(tmp_path):
    folder = tmp_path / "small"
    write_mixed(folder, pl.Int64, pl.Int64)
    part = folder / "train" / "1.parquet"
    pl.read_parquet(part).with_columns(pl.col("item") + 0.5).write_parquet(part)
    with pytest.raises(RequestError, match=r"1.parquet': column 'item' holds Float64 with values that Int64"):
        build_dataset(small_spec(**MIXED), Places(data_root=tmp_path), log=quiet)
    assert not list(folder.glob("built-*")) and not list(folder.glob(".building-*"))


def test_missing_values_and_nan_are_filled(tmp_path):
    places = write_small(tmp_path)
    folder = tmp_path / "small"
    text = "user,item,price,label\nu1,1,2.5,1\n,1,nan,0\nu1,,,1\nu2,2,3.5,0\nu2,2,3.5,0\n"
    for split in ("train", "valid", "test"):
        (folder / f"{split}.csv").write_text(text)
    columns = [dict(entry) for entry in SMALL["feature_cols"]]
    columns[1]["min_categr_count"] = 1
    columns[2] = {"name": "price", "dtype": "float", "type": "numeric", "fill_na": 3}
    frame = pl.read_parquet(build_dataset(small_spec(feature_cols=columns), places, log=quiet).train)
    assert frame["price"].to_list() == [2.5, 3, 3, 3.5, 3.5]
    assert frame["user"].to_list() == [1, 3, 1, 2, 2]  # no user: the unknown one
    assert frame["item"].to_list() == [2, 2, 1, 3, 3]  # no item: 0, a value like others


def test_what_encodes_a_new_row_is_kept(tmp_path):
    built = build_dataset(small_spec(), write_small(tmp_path), log=quiet)
    state = json.loads((built.folder / "preprocessing.json").read_text())
    price = pl.read_csv(tmp_path / "small" / "train.csv")["price"]
    scaler = state["normalizers"]["price"]
    assert scaler["shift"] == pytest.approx(price.mean()) and scaler["scale"] == pytest.approx(
        price.std(ddof=0)
    )
    assert state["types"] == {"user": "String", "item": "Int64", "price": "Float64", "label": "Float64"}
    assert state["dataset"]["feature_cols"][1]["min_categr_count"] == 2
    assert not any(key.endswith("_data") for key in state["dataset"])


def test_shipped_configs_have_the_columns_they_promise():
    from data_support import config_of

    fields = {"frappe_x1": 10, "ml_1m_x1": 7, "criteo_x4": 39, "criteo_10k": 39, "demo": 8}
    for name, count in fields.items():
        assert len(make_spec(name, config_of(name)).active_columns) == count


def test_vectors_in_a_csv(tmp_path):
    """An embedding column as text: numbers between splitters, all there and finite."""
    (tmp_path / "vectors").mkdir()
    file = tmp_path / "vectors" / "all.csv"
    columns = [{"name": "vector", "type": "embedding", "splitter": " ", "pretrain_dim": 2}]
    spec = make_spec(
        "vectors", {"train_data": "all.csv", "feature_cols": columns, "label_col": {"name": "label"}}
    )
    places = Places(data_root=tmp_path)
    file.write_text("vector,label\n0.5 1e2,1\n-3 0,0\n")
    built = build_dataset(spec, places, log=quiet)
    assert pl.read_parquet(built.train)["vector"].to_list() == [[0.5, 100], [-3, 0]]
    for cell in ("1 2 3", "1", "", "1 x", "1 nan", "1 1e400"):
        file.write_text(f"vector,label\n0.5 1,1\n{cell},0\n")
        with pytest.raises(RequestError, match="line 3: column 'vector' needs 2 finite numbers"):
            build_dataset(spec, places, log=quiet)


def test_preprocess_steps_of_one_round_do_not_depend_on_each_other():
    """A copy of a column is taken before that column changes, or after, as the steps say."""
    a, b, c = (pl.col(name) for name in "abc")
    steps = [
        Step("a", a.fill_null(0)),
        Step("b", a + 1),
        Step("a", a * 10),
        Step("c", c + b),
        Step("d", pl.lit(1)),
    ]
    rounds = [[step.column for step in stage] for stage in _stages(steps)]
    assert rounds == [["a", "d"], ["b", "a"], ["c"]]  # within a round all read what was before it
    frame = pl.DataFrame({"a": [None, 2], "b": [0, 0], "c": [1, 1]})
    one_by_one = frame
    for step in steps:
        one_by_one = one_by_one.with_columns(step.expression.alias(step.column))
    together = frame
    for stage in _stages(steps):
        together = together.with_columns(step.expression.alias(step.column) for step in stage)
    assert together.to_dict(as_series=False) == one_by_one.select(together.columns).to_dict(as_series=False)
