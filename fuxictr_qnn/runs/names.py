"""How run folders are named: <expid>-<digest>/seed<S>."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_CONFIG = re.compile(r"(.+)-([0-9a-f]{8})")
_SEED = re.compile(r"seed(\d+)")


def config_name(expid: str, digest: str) -> str:
    """Of the folder that holds the runs of a config, one a seed."""
    return f"{expid}-{digest}"


def run_name(expid: str, digest: str, seed: int) -> str:
    """Of a run folder, from the root of the runs."""
    return f"{config_name(expid, digest)}/{seed_name(seed)}"


def seed_name(seed: int) -> str:
    """Of a run folder, in the one of its config."""
    return f"seed{seed}"


class RunName(NamedTuple):
    """What the name of a run folder says; None where it says nothing of the kind."""

    expid: str | None
    digest: str | None
    seed: int | None

    @classmethod
    def of(cls, folder: Path) -> RunName:
        *_, above, name = ("", *folder.absolute().parts)
        config, seed = _CONFIG.fullmatch(above), _SEED.fullmatch(name)
        return cls(*(config.groups() if config else (None, None)), int(seed[1]) if seed else None)
