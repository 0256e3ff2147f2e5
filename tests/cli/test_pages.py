"""The pages for users run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_own_data(tmp_path: Path):
    """Every block of the page, one after the other, in one folder."""
    page = (ROOT / "docs" / "own_data.md").read_text()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    commands = 0
    for kind, body in re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL):
        if kind == "yaml":
            file = tmp_path / re.match(r"# (\S+)", body)[1]
            file.parent.mkdir(exist_ok=True)
            file.write_text(body)
        elif kind == "python":
            subprocess.run([sys.executable, "-c", body], cwd=tmp_path, check=True)
        for line in body.splitlines() if kind == "bash" else []:
            command = [sys.executable, "-m", *line.replace("fuxictr", "fuxictr_qnn", 1).split()]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            commands += 1
    assert commands == 4
    assert len(list(tmp_path.glob("runs/*/seed2024/metrics.json"))) == 2
    assert len(list(tmp_path.glob("runs/streamed/*/seed2024/metrics.json"))) == 1
