"""A complete run as its folder keeps it: read with suspicion, since a folder may come from anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

import fuxictr_qnn
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.models.registry import zoo_package
from fuxictr_qnn.runs.agreement import contradictions, experiment_in
from fuxictr_qnn.runs.files import RunFiles, Unreadable
from fuxictr_qnn.runs.names import RunName
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.starting_point import find_source

if TYPE_CHECKING:
    from fuxictr.pytorch.models import BaseModel

OUT = Path("runs")


@dataclass(frozen=True)
class SavedRun:
    """A complete run whose files agree with each other.

    Attributes:
        folder: where it lies.
        metrics: the contents of its metrics.json.
    """

    folder: Path
    experiment: Experiment
    seed: int
    metrics: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.experiment.expid} (seed {self.seed})"

    @property
    def dataset(self) -> DatasetSpec:
        return self.experiment.dataset

    @property
    def features(self) -> Path:
        """The folder with the feature map, vocabularies and preprocessing state."""
        return self.folder / "features"

    @property
    def takes_raw_values(self) -> bool:
        """Whether the run was trained on raw data and so knows the vocabulary of its columns."""
        return not self.dataset.is_encoded

    def model(self, gpu: int = -1, zoo: Path | None = None) -> BaseModel:
        """The model with the run's weights, for evaluation.

        Args:
            gpu: index of a GPU, -1 for the CPU.
            zoo: the FuxiCTR checkout that a model of its zoo is from.

        Raises:
            RequestError: weights that are damaged, hold code or belong to another model or feature map.
        """
        import torch

        from fuxictr_qnn.data import load_feature_map
        from fuxictr_qnn.training.setup import build_model
        from fuxictr_qnn.training.tensor_file import load_into

        self._check_zoo(zoo)
        weights = self.weights()
        feature_map = load_feature_map(
            self.features / "feature_map.json", self.dataset, self.experiment.features
        )
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and replaced below
            model = build_model(self.experiment, feature_map, gpu, self.folder, zoo)
        load_into(model, weights, self.folder / "model.pt", "put back the run's own files")
        return model.eval()

    def weights(self) -> dict[str, Any]:
        """The contents of model.pt on the CPU. A file that holds more than tensors is refused, never run."""
        from fuxictr_qnn.training.tensor_file import check_by_name, read_plain

        file = self.folder / "model.pt"
        remedy = (
            "put back the file of this run, or train again by "
            f"`fuxictr run --config {self.folder / 'config.yaml'} --force`"
        )
        return check_by_name(read_plain(file, remedy), file, remedy)

    def _check_zoo(self, zoo: Path | None) -> None:
        if zoo is None and zoo_package(self.metrics.get("model_class", "").partition(":")[0]):
            raise RequestError(
                f"'{self.folder}': {self.experiment.model} came from a FuxiCTR checkout: name it by --zoo DIR"
            )


def open_run(where: str | Path, out: Path = OUT) -> SavedRun:
    """The complete run that a name means.

    Args:
        where: a run folder (`.../seed<S>`), or an expid: then the newest complete run of it below `out` that
            kept its weights.

    Raises:
        RequestError: there is none, it is incomplete or without weights, another version wrote it, or its
            files contradict each other.
    """
    folder = _find(Path(where), out)
    files = RunFiles(folder)
    if (obstacle := files.obstacle) is not None:
        raise RequestError(obstacle)
    config, metrics = files.config, files.whole_metrics
    _check_version(folder, metrics)
    run = SavedRun(folder, _experiment(files, config), config.get("seed", metrics.get("seed")), metrics)
    for name in ("feature_map.json", *(["preprocessing.json"] if run.takes_raw_values else [])):
        if not (run.features / name).is_file():
            raise RequestError(f"'{folder}' lacks features/{name}: put it back, or train again")
    if signs := [*contradictions(files, config, run.experiment, metrics), *_of_other_settings(run)]:
        raise RequestError(
            f"'{folder}' was changed after its run, so that its files contradict each other: "
            f"{'; '.join(signs)}; put back its own files, or train again"
        )
    return run


def check_start(place: Path) -> None:
    """Refuse a place that no run can start from; a run folder must be as its run left it.

    Raises:
        RequestError: with messages that do not name the option or key.
    """
    source = find_source(place.expanduser())
    if not place.expanduser().is_file():
        open_run(source.weights.parent)


def _find(where: Path, out: Path) -> Path:
    """The folder that --run means."""
    if where.is_dir():
        if RunFiles(where).is_begun or RunFiles(where).is_complete:
            return where
        below = sorted({file.parent for file in where.glob("**/seed*/config.yaml")})
        if not below:
            raise RequestError(
                f"--run {where}: no run lies there; name a run folder (runs/EXPID-DIGEST/seedS)"
            )
        named = ", ".join(f"'{folder}'" for folder in below[:3]) + (" ..." if len(below) > 3 else "")
        raise RequestError(f"--run {where}: holds {len(below)} runs, name one of them: {named}")
    if len(where.parts) != 1:
        raise RequestError(f"--run {where}: no such folder")
    expid = str(where)
    folders = [(name, folder) for folder in out.glob("*") if (name := RunName.of(folder / "seed0").expid)]
    seeds = [seed for name, folder in folders if name == expid for seed in sorted(folder.glob("seed*"))]
    complete = [seed for seed in seeds if RunFiles(seed).is_complete]
    usable = [seed for seed in complete if RunFiles(seed).has_weights]  # of a sweep, one trial keeps them
    if complete:
        return max(usable or complete, key=lambda seed: (seed / "metrics.json").stat().st_mtime_ns)
    if seeds:
        raise RequestError(f"--run {expid}: '{seeds[0]}' is incomplete: --resume on its command ends it")
    known = sorted({name for name, _ in folders})
    raise RequestError(
        f"--run {expid}: neither a folder nor an experiment with a run in '{out}'.{nearest(expid, known)} "
        "--out names the folder of the runs"
    )


def _check_version(folder: Path, metrics: dict[str, Any]) -> None:
    """A later version may have changed what the same keys mean."""
    made_by = _made_by(metrics)
    if made_by and _number(made_by) > _number(fuxictr_qnn.__version__):
        raise RequestError(
            f"'{folder}' was made by fuxictr-qnn {made_by}, and this is {fuxictr_qnn.__version__}: upgrade it"
        )


def _made_by(metrics: dict[str, Any]) -> str | None:
    versions = metrics.get("versions")
    return str(versions["fuxictr-qnn"]) if isinstance(versions, dict) and "fuxictr-qnn" in versions else None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _experiment(files: RunFiles, config: dict[str, Any]) -> Experiment:
    try:
        return experiment_in(files, config)
    except Unreadable as error:
        made_by = _made_by(files.metrics) or "which is not recorded"
        remedy = f"another version of this package ({made_by}) wrote it; use that one, or train again"
        raise Unreadable(error.file, error.what, remedy) from None


def _of_other_settings(run: SavedRun) -> Iterator[str]:
    """Signs that config.yaml or the features are of another config than the one that was trained."""
    if run.experiment.digest != (made_with := run.metrics.get("config_digest")):
        yield f"config_digest is {made_with} in metrics.json, and config.yaml has {run.experiment.digest}"
    if not run.takes_raw_values:
        return
    try:
        built = DatasetSpec.model_validate(RunFiles(run.folder).preprocessing.get("dataset"))
    except ValidationError:  # of another version, which the encoder says
        return
    for key in ("feature_cols", "label_col", "min_categr_count", "feature_processor"):
        if getattr(built, key) != getattr(run.dataset, key):
            yield f"{key} differs between config.yaml and features/preprocessing.json"
