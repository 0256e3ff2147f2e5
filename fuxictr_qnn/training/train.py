"""`fuxictr run` as a function."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuxictr_qnn.config import EXPECTED_SEED, SEEDS, load_experiment
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.defaults import default_build_dir, default_data_root
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.run import RunResult, run_seed

logger = logging.getLogger("fuxictr_qnn")


def train(
    expid: str | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    config: str | Path | None = None,
    data_root: str | Path | None = None,
    build_dir: str | Path | None = None,
    out: str | Path = "runs",
    zoo: str | Path | None = None,
    gpu: int | None = None,
    resume: bool = False,
    force: bool = False,
) -> RunResult:
    """Train one experiment with one seed and score its test split, or return the complete run that is there.

    Args:
        expid: its name; may be left out where `config` holds only one.
        seed: None: the config's.
        settings: keys of the config over its values, as --set takes them; a dotted key goes into a mapping.
        config: a FuxiCTR config directory, a file like model_config.yaml or a run's config.yaml; None: the
            installed model_zoo.
        data_root: raw files are in `data_root`/<dataset_id>/; None: $FUXICTR_DATA, else ./data.
        build_dir: where builds go; None: $FUXICTR_BUILDS, else beside the raw files.
        out: the root of the run folders.
        zoo: a FuxiCTR checkout whose models come first.
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        resume: go on with an incomplete run, or with a complete one of fewer epochs.
        force: start anew whatever is there.

    Returns:
        The folder of the run, its metrics.json as `metrics`, and whether it was `reused`.

    Raises:
        RequestError: the request or the data is wrong; nothing was changed.
        RunError: training failed; what was finished is kept.
    """
    overrides = [f"{key}={json.dumps(value, default=str)}" for key, value in (settings or {}).items()]
    loaded = load_experiment(expid, _path(config), overrides, _path(zoo))
    for note in loaded.notes:
        logger.info("note: %s", note)
    if seed is not None and seed not in SEEDS:
        raise RequestError(f"seed {seed}: expected {EXPECTED_SEED}")
    places = Places(
        _path(data_root) or default_data_root(), _path(build_dir) or default_build_dir(), loaded.config_dir
    )
    return run_seed(
        loaded.experiment,
        loaded.seed if seed is None else seed,
        places=places,
        out=Path(out),
        gpu=gpu,
        zoo=_path(zoo),
        resume=resume,
        force=force,
        keep_checkpoint=True,
    )


def _path(place: str | Path | None) -> Path | None:
    return None if place is None else Path(place)
