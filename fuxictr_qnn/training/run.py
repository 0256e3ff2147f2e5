"""One experiment with one seed, from the data to a complete run folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuxictr_qnn.data import BuiltDataset, Engine, Places, open_dataset
from fuxictr_qnn.data.dataset import SPLITS
from fuxictr_qnn.errors import CutShort, RequestError
from fuxictr_qnn.files import is_of_disk
from fuxictr_qnn.training.device import choose_gpu, keep_freed_memory
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.fit import Hooks
from fuxictr_qnn.training.metrics import check_metrics
from fuxictr_qnn.training.more_epochs import find_shorter
from fuxictr_qnn.training.phases import carry_out, score_test
from fuxictr_qnn.training.prepared import Prepared, prepare
from fuxictr_qnn.training.run_folder import RunFolder

logger = logging.getLogger("fuxictr_qnn")


@dataclass(frozen=True)
class RunResult:
    """A complete run: its folder, metrics.json, and whether it was there already."""

    folder: Path
    metrics: dict[str, Any]
    reused: bool


def run_seed(
    experiment: Experiment,
    seed: int,
    *,
    places: Places,
    out: Path = Path("runs"),
    gpu: int | None = None,
    zoo: Path | None = None,
    resume: bool = False,
    force: bool = False,
    engine: Engine = "local",
    workers: Workers = ALONE,
    test: bool = True,
    data_fingerprint: str | None = None,
    hooks: Hooks | None = None,
    keep_checkpoint: bool = False,
) -> RunResult:
    """Train and measure one experiment with one seed, or return the complete run that is there.

    Args:
        experiment: what to run.
        seed: of weights, batch order and dropout.
        places: where raw data and builds lie.
        out: the root of the run folders.
        gpu: index of a GPU, -1 for the CPU, None for a GPU if there is one.
        zoo: a FuxiCTR model_zoo folder to look in first.
        resume: go on with an incomplete run, or with a complete one of fewer epochs that kept its checkpoint.
        force: start anew whatever is there.
        engine: what builds the data, if it is not built yet: "local" or "ray".
        workers: that do it together; each of them calls this function with the same arguments.
        test: score the test split at the end; False leaves it unread. Of a complete run whose test split was
            left unread, its weights score it now.
        data_fingerprint: that the data must have; any other is refused.
        hooks: called after the run's own at the moments of the fit; what they raise ends the run where it is.
        keep_checkpoint: of a run that its number of epochs ends, so that more epochs can go on from there.

    Raises:
        RequestError: the request or the data is wrong; nothing was changed.
        RunError: training failed; what was finished is kept.
    """
    folder = workers.folder(RunFolder(Path(out), experiment, seed))

    def begin() -> Prepared | RunResult:
        folder.check_writable()
        check_metrics([*experiment.fit.metrics, *experiment.fit.monitor_weights])
        index = choose_gpu(gpu)
        keep_freed_memory()
        folder.check_state(resume, force)
        built = workers.first_then_all(lambda: _open_data(experiment, places, engine))
        if data_fingerprint not in (None, built.fingerprint):
            raise RequestError(
                f"the data of {experiment.dataset.dataset_id} has changed meanwhile: its fingerprint was "
                f"{data_fingerprint}, and is {built.fingerprint} now; the same command takes it as it is now"
            )
        if (complete := _complete_run(folder, built, force, test)) is not None:
            return complete
        check_splits(experiment, built)
        wanted = ("test",) if not force and folder.metrics is not None else SPLITS if test else SPLITS[:2]
        splits = {split: path for split, path in built.splits.items() if split in wanted}
        shorter = None
        if resume and not force and folder.metrics is None and not folder.has_checkpoint:
            shorter = workers.first_does(lambda: find_shorter(experiment, seed, Path(out), built.fingerprint))
        return prepare(experiment, seed, folder, built, splits, index, zoo, force, workers, shorter)

    run = workers.all_do(begin)
    if isinstance(run, RunResult):
        return run
    workers.adopt(run.model, seed)
    try:
        with folder.locked():  # another process may have finished it meanwhile
            if (
                complete := workers.all_do(lambda: _complete_run(folder, run.built, force, test))
            ) is not None:
                return complete
            unread = not force and folder.metrics is not None
            metrics = score_test(run) if unread else carry_out(run, force, hooks or Hooks(), keep_checkpoint)
    except OSError as error:
        if not is_of_disk(error, folder.path):  # a model may read files of its own, and standard output break
            raise
        raise CutShort(f"writing '{folder.path}' failed: {error}") from error
    return RunResult(folder.path, metrics, reused=False)


def _open_data(experiment: Experiment, places: Places, engine: Engine) -> BuiltDataset:
    task = experiment.fit.task
    built = open_dataset(experiment.dataset, places, task=task, log=logger.info, engine=engine)
    for warning in built.warnings:
        logger.warning(warning)
    return built


def _complete_run(folder: RunFolder, built: BuiltDataset, force: bool, test: bool) -> RunResult | None:
    """The run that is complete here on the same data, unless `force` starts anew.

    None also for one whose test split was left unread and is to be scored.

    Raises:
        RequestError: a run on other data, complete or not, is here, or the weights that are to score the test
            split are gone.
    """
    if force or folder.data_fingerprint is None:
        return None
    if folder.data_fingerprint != built.fingerprint:
        raise RequestError(
            f"'{folder.path}' holds a run on other data (fingerprint {folder.data_fingerprint}, now "
            f"{built.fingerprint}): add --force to replace it, or --out to keep both"
        )
    if folder.metrics is None:
        return None
    if test and built.test is not None and "test" not in folder.metrics:
        if folder.has_weights:
            return None
        raise RequestError(
            f"'{folder.path}' holds a run of a sweep, which left the test split unread and kept no weights: "
            "add --force to replace it, or --out to keep both"
        )
    logger.info("complete already: %s (--force runs it again)", folder.path)
    return RunResult(folder.path, folder.metrics, reused=True)


def check_splits(experiment: Experiment, built: BuiltDataset) -> None:
    """Refuse data that training would find unusable only after an epoch.

    Raises:
        RequestError: no training or validation data; one class only where AUC is monitored or measured.
    """
    name = experiment.dataset.dataset_id
    missing = [f"{split}_data" for split in ("train", "valid") if getattr(built, split) is None]
    if missing:
        raise RequestError(f"{name}: {' and '.join(missing)} must be set to train")
    wanted = {*experiment.fit.metrics, *experiment.fit.monitor_weights} & {"AUC", "gAUC", "avgAUC"}
    rates = built.facts.get("positive_rate", {}).get("valid", {}).values()
    if wanted and any(rate in (0, 1) for rate in rates):
        raise RequestError(
            f"{name}: valid_data: all its labels are {next(iter(rates)):g}, so {', '.join(sorted(wanted))} "
            "is not defined: use data with both classes, or other metrics and monitor"
        )
