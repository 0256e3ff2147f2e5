"""`fuxictr run --dry-run`: the resolved config, the model if the data is built, and nothing written."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from fuxictr_qnn.config import Loaded
from fuxictr_qnn.runs.names import run_name
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.yaml_files import to_yaml


def show(console: Console, item: Loaded, seeds: Sequence[int], args: argparse.Namespace) -> None:
    """Print what a run of this experiment would be.

    Raises:
        RequestError: its data is missing, or the model refuses its parameters.
    """
    experiment = item.experiment
    where = ", ".join(str(args.out / run_name(experiment.expid, experiment.digest, seed)) for seed in seeds)

    def line(text: str) -> None:
        console.print(text, soft_wrap=True)

    line(_as_yaml(experiment))
    line(f"runs: {where}")
    feature_map = _feature_map(item, args, line)
    if feature_map is not None:
        line(_model_line(experiment, feature_map, args.zoo))


def _as_yaml(experiment: Experiment) -> str:
    """The experiment in YAML: of the dataset's columns, only what differs from the defaults."""
    content: dict[str, Any] = experiment.model_dump(mode="json", exclude={"dataset"})
    content["dataset"] = experiment.dataset.model_dump(mode="json", exclude_defaults=True)
    return to_yaml(content, default_flow_style=None, width=110).rstrip()


def _feature_map(item: Loaded, args: argparse.Namespace, line: Callable[[str], None]) -> Any | None:
    """FuxiCTR's feature map where the data is built or encoded already; says how it stands with the data."""
    from fuxictr_qnn.data import Places, find_build, load_feature_map

    spec = item.experiment.dataset
    places = Places(data_root=args.data_root, build_dir=args.build_dir, config_dir=item.config_dir)
    file = find_build(spec, places)
    if file is None:
        line(f"data: {spec.dataset_id} is not built yet; the run would do that first")
        return None
    line(f"data: {spec.dataset_id} is ready in {file.parent}")
    return load_feature_map(file, spec, item.experiment.features)


def _model_line(experiment: Experiment, feature_map: Any, zoo: Path | None) -> str:
    from fuxictr_qnn.training.setup import build_model, count_parameters

    model = build_model(experiment, feature_map, gpu=-1, model_root=Path("."), zoo=zoo)
    inner = count_parameters(model, embeddings=False)
    return (
        f"model: {type(model).__name__}, {count_parameters(model):,} parameters, {inner:,} without embeddings"
    )
