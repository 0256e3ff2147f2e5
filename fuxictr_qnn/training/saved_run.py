"""A complete run as its folder keeps it: read with suspicion, since a folder may come from anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

import fuxictr_qnn
from fuxictr_qnn.config.loading import read_yaml
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest
from fuxictr_qnn.models.registry import zoo_package
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.starting_point import find_source

if TYPE_CHECKING:
    from fuxictr.pytorch.models import BaseModel

OUT = Path("runs")
_NAME = re.compile(r"(.+)-([0-9a-f]{8})")  # <expid>-<digest>
_SEED = re.compile(r"seed(\d+)")


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
    if not (folder / "config.yaml").is_file():
        raise RequestError(f"--run {where}: '{folder}' is no run folder: it has no config.yaml")
    if not (folder / "metrics.json").is_file():
        raise RequestError(
            f"'{folder}' holds an incomplete run (no metrics.json): --resume on the command that began it "
            "ends it"
        )
    metrics = _read_json(folder / "metrics.json")
    _check_version(folder, metrics)
    config = read_yaml(folder / "config.yaml")
    run = SavedRun(folder, _experiment(folder, config), config.get("seed", metrics.get("seed")), metrics)
    for name in ("feature_map.json", *(["preprocessing.json"] if run.takes_raw_values else [])):
        if not (run.features / name).is_file():
            raise RequestError(f"'{folder}' lacks features/{name}: put it back, or train again")
    if signs := list(_contradictions(run, config)):
        raise RequestError(
            f"'{folder}' was changed after its run, so that its files contradict each other: "
            f"{'; '.join(signs)}; put back its own files, or train again"
        )
    if not (folder / "model.pt").is_file():
        raise RequestError(
            f"'{folder}' keeps no weights (model.pt); of the trials of a sweep only the best keep theirs: "
            f"train it by `fuxictr run --config {folder / 'config.yaml'} --force`"
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
        if (where / "config.yaml").is_file() or (where / "metrics.json").is_file():
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
    folders = [(match[1], folder) for folder in out.glob("*") if (match := _NAME.fullmatch(folder.name))]
    seeds = [seed for name, folder in folders if name == expid for seed in sorted(folder.glob("seed*"))]
    complete = [seed for seed in seeds if (seed / "metrics.json").is_file()]
    usable = [seed for seed in complete if (seed / "model.pt").is_file()]  # of a sweep, one trial keeps it
    if complete:
        return max(usable or complete, key=lambda seed: (seed / "metrics.json").stat().st_mtime_ns)
    if seeds:
        raise RequestError(f"--run {expid}: '{seeds[0]}' is incomplete: --resume on its command ends it")
    known = sorted({name for name, _ in folders})
    raise RequestError(
        f"--run {expid}: neither a folder nor an experiment with a run in '{out}'.{nearest(expid, known)} "
        "--out names the folder of the runs"
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"'{file}' cannot be read as JSON ({error}): put back the file of this run"
        ) from None
    if not isinstance(content, dict):
        raise RequestError(f"'{file}' is not as a run writes it: put back the file of this run")
    return content


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


def _experiment(folder: Path, config: dict[str, Any]) -> Experiment:
    try:
        return Experiment.model_validate(config.get("experiment"))
    except ValidationError as error:
        keys = sorted({".".join(map(str, problem["loc"])) or "experiment" for problem in error.errors()})
        made_by = _made_by(_read_json(folder / "metrics.json")) or "which is not recorded"
        raise RequestError(
            f"'{folder / 'config.yaml'}': {', '.join(keys)} missing, unknown or of another kind: another "
            f"version of this package ({made_by}) wrote it; use that one, or train again"
        ) from None


def _contradictions(run: SavedRun, config: dict[str, Any]) -> Iterator[str]:
    """What the folder's name, config.yaml, metrics.json and features/ say differently."""
    said = {
        "expid": run.experiment.expid,
        "model": run.experiment.model,
        "dataset_id": run.dataset.dataset_id,
        "seed": config.get("seed"),
        "data_fingerprint": config.get("data_fingerprint"),
        "config_digest": run.experiment.digest,
    }
    for key, value in said.items():
        if value is not None and value != run.metrics.get(key):
            yield f"{key} is {value} by config.yaml and {run.metrics.get(key)} by metrics.json"
    yield from _other_columns(run)
    digest, seed = (
        _NAME.fullmatch(run.folder.absolute().parent.name),
        _SEED.fullmatch(run.folder.absolute().name),
    )
    if digest and seed and digest[2] != run.experiment.digest:
        yield f"the folder is named {digest[2]}, but config.yaml has the digest {run.experiment.digest}"
    if digest and seed and int(seed[1]) != run.seed:
        yield f"the folder is named seed{seed[1]}, but config.yaml says seed {run.seed}"


def _other_columns(run: SavedRun) -> Iterator[str]:
    """What decides the ids must be the same in config.yaml as in the features' own record."""
    if not run.takes_raw_values:
        return
    try:
        built = DatasetSpec.model_validate(_read_json(run.features / "preprocessing.json").get("dataset"))
    except ValidationError:  # of another version, which the encoder says
        return
    for key in ("feature_cols", "label_col", "min_categr_count", "feature_processor"):
        if getattr(built, key) != getattr(run.dataset, key):
            yield f"{key} differs between config.yaml and features/preprocessing.json"
