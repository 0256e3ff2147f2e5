"""Whether the files of a run folder are of one run: each says who it is, and so does the folder's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.runs.names import RunName
from fuxictr_qnn.training.experiment import Experiment


def experiment_in(files: RunFiles, config: Mapping[str, Any]) -> Experiment:
    """The resolved config in config.yaml; keys that came later have their defaults.

    Raises:
        Unreadable: another version of this package wrote it, or no version at all.
    """
    file, found = files.path / "config.yaml", config.get("experiment")
    if not isinstance(found, dict):
        raise Unreadable(file, "is not as a run writes it (no experiment)", files.remedy)
    try:
        return Experiment.model_validate(found)
    except ValidationError as error:
        what = f"{wrong_keys(error)} missing, unknown or of another kind"
        raise Unreadable(
            file, f"is not as this version of the package writes it ({what})", files.remedy
        ) from error


def wrong_keys(error: ValidationError) -> str:
    """The keys that pydantic refuses, in a line."""
    return ", ".join(sorted({".".join(map(str, problem["loc"])) for problem in error.errors()}))


def contradictions(
    files: RunFiles, config: Mapping[str, Any], experiment: Experiment, metrics: Mapping[str, Any]
) -> Iterator[str]:
    """What the folder's name, config.yaml and metrics.json say differently; a fact a sentence.

    The digest of the config is left to the caller: it differs between versions of this package, too. Only a
    folder that is named like one of a run has to be named after its own.
    """
    said = {
        "expid": experiment.expid,
        "model": experiment.model,
        "dataset_id": experiment.dataset.dataset_id,
        "seed": config.get("seed"),
        "data_fingerprint": config.get("data_fingerprint"),
    }
    for key, value in said.items():
        if value is not None and value != metrics.get(key):  # None: written by an early version
            yield f"{key} is {metrics.get(key)} in metrics.json and {value} in config.yaml"
    name = RunName.of(files.path)
    if None in name:
        return
    if name.seed != metrics.get("seed"):
        yield f"seed is {metrics.get('seed')} in metrics.json, and the folder is named seed{name.seed}"
    if name.digest != metrics.get("config_digest"):
        digest = metrics.get("config_digest")
        yield f"config_digest is {digest} in metrics.json, and the folder is named {name.digest}"
