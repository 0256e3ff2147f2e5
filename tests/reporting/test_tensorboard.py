"""Event files: read back by TensorBoard itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting import tensorboard
from tests.reporting.made_runs import make_entries

ROOT = Path(__file__).resolve().parents[2]


def test_without_the_package_it_is_refused(monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"needs the package.*'fuxictr-qnn\[tensorboard\]'"):
        tensorboard.require_tensorboard()


def test_what_is_written_is_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    entries = make_entries(tmp_path / "runs", {"DNN_shop": 1.0}, seeds=2)
    files = tensorboard.write_events(entries, tmp_path / "events")
    folders = [file.parent.relative_to(tmp_path / "events").as_posix() for file in files]
    assert folders == ["DNN_shop/seed1", "DNN_shop/seed2"]
    first, *events = LegacyEventFileLoader(str(files[0])).Load()
    assert first.file_version == "brain.Event:2"
    history = entries[0].runs[0].history
    found = [(e.step, e.wall_time, {v.tag: v.simple_value for v in e.summary.value}) for e in events]
    for line, (step, seconds, values) in zip(history, found, strict=True):
        assert (step, seconds) == (line["step"], line["seconds"])
        assert set(values) == {"train/loss", "train/learning_rate", "valid/AUC", "valid/logloss"}
        assert values["valid/AUC"] == pytest.approx(line["AUC"])


WRITES = """
import sys
from pathlib import Path
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.runs.finding import find_runs
from fuxictr_qnn.reporting.tensorboard import write_events
((_, entries),) = entries_by_data(find_runs([Path(sys.argv[1])]).runs).items()
write_events(entries, Path(sys.argv[2]))
print([name for name in ("tensorflow", "torch") if name in sys.modules])
"""


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="tensorboard is not installed")
def test_neither_tensorflow_nor_torch_is_imported(tmp_path):
    """Not even where TensorFlow is installed: a package of that name that must not be touched."""
    make_entries(tmp_path / "runs", {"DNN_shop": 1.0}, seeds=1)
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    command = [sys.executable, "-c", WRITES, str(tmp_path / "runs"), str(tmp_path / "events")]
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[]" and list((tmp_path / "events").rglob("*tfevents*"))
