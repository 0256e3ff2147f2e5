"""`fuxictr data audit` as a user calls it: table, JSON, exit codes, and none of the heavy libraries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = "import sys; from fuxictr_qnn.cli import main; code = main(sys.argv[1:]); " + (
    "assert not {'torch', 'fuxictr'} & set(sys.modules); sys.exit(code)"
)


def test_audit(shop) -> None:
    def audit(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", HEAVY, "data", "audit", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)

    done = audit("shop", "--config", "config")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("shop: 0 severe, 0 warnings, ")
    assert "read 640 rows of train" in done.stderr

    shutil.copy("data/shop/test.csv", "data/shop/valid.csv")
    before = shop.files()
    done = audit("shop", "--config", "config", "--format", "json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["severe"] and result["findings"][0]["check"] == "shared rows"
    assert shop.files() == before

    done = audit("shpo", "--config", "config", "--sample", "1")
    assert done.returncode == 2 and "shpo" in done.stderr and "Traceback" not in done.stderr
