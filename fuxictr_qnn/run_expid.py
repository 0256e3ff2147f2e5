"""`python -m fuxictr_qnn.run_expid --config DIR --expid ID --gpu N`: FuxiCTR's run_expid.py, with our models.

So FuxiCTR's own tools can start our runs, its autotuner among them:

    autotuner.grid_search(config_dir, gpus, script="-m fuxictr_qnn.run_expid")

The run itself is that of `fuxictr run`. What FuxiCTR's script leaves behind is written as well:
`<model_root>/<dataset_id>/<expid>.model` and `.log`, and one line in `<name of config>.csv`.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from fuxictr_qnn.cli.app import exit_code
from fuxictr_qnn.cli.options import add_data_options, check_gpu
from fuxictr_qnn.config.load import Loaded, load_experiment, settings_of
from fuxictr_qnn.config.merging import Setting
from fuxictr_qnn.files import locked

LOG_FORMAT = "%(asctime)s P%(process)d %(levelname)s %(message)s"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment as FuxiCTR's script does; returns the exit code."""
    parser = argparse.ArgumentParser(prog="run_expid", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, metavar="DIR", help="config directory")
    parser.add_argument("--expid", required=True, help="experiment to run")
    parser.add_argument("--gpu", type=int, default=-1, help="GPU index, -1 for the CPU")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="run folders (default: ./runs)")
    parser.add_argument("--force", action="store_true", help="run again whatever an earlier run left")
    add_data_options(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    arguments = parser.parse_args(argv)
    command = sys.argv[1:] if argv is None else argv
    return exit_code(lambda: _run(arguments, command), arguments.debug)


def _run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    loaded = load_experiment(args.expid, args.config)
    check_gpu(args.gpu)
    model_root = settings_of(args.expid, args.config).get("model_root", Setting("./checkpoints", ""))
    folder = Path(str(model_root.value)) / loaded.experiment.dataset.dataset_id
    folder.mkdir(parents=True, exist_ok=True)
    _log_to(folder / f"{args.expid}.log")
    metrics = _train(loaded, args, folder / f"{args.expid}.model")
    for split, title in (("valid", "Validation"), ("test", "Test")):
        logging.info("****** %s evaluation ******", title)
        logging.info("[Metrics] %s", listed(metrics.get(split, {})))
    _append_result(Path(args.config.name.replace(".yaml", "") + ".csv"), argv, loaded, metrics)
    return 0


def _train(loaded: Loaded, args: argparse.Namespace, weights: Path) -> dict:
    from fuxictr_qnn.data import Places
    from fuxictr_qnn.training import run_seed

    for note in loaded.notes:
        logging.info("note: %s", note)
    result = run_seed(
        loaded.experiment,
        loaded.seed,
        places=Places(data_root=args.data_root, build_dir=args.build_dir, config_dir=loaded.config_dir),
        out=args.out,
        gpu=args.gpu,
        resume=True,
        force=args.force,
    )
    shutil.copyfile(result.folder / "model.pt", weights)
    return result.metrics


def _log_to(file: Path) -> None:
    """Every log line to `file` and to stdout, in FuxiCTR's format."""
    handlers = [logging.FileHandler(file, mode="w", encoding="utf-8"), logging.StreamHandler(sys.stdout)]
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, handlers=handlers, force=True)


def listed(scores: Mapping[str, float]) -> str:
    """Metrics as FuxiCTR writes them: `AUC: 0.812345 - logloss: 0.412345`."""
    return " - ".join(f"{name}: {value:.6f}" for name, value in scores.items())


def _append_result(file: Path, argv: Sequence[str], loaded: Loaded, metrics: dict) -> None:
    """One line a run, in the layout of FuxiCTR's result file; a lock keeps the lines of a sweep apart."""
    command = " ".join(["-m", "fuxictr_qnn.run_expid", *argv])
    line = (
        f" {datetime.now():%Y%m%d-%H%M%S},[command] python {command},[exp_id] {loaded.experiment.expid},"
        f"[dataset_id] {loaded.experiment.dataset.dataset_id},[train] N.A.,"
        f"[val] {listed(metrics['valid'])},[test] {listed(metrics.get('test', {}))}\n"
    )
    with locked(file.with_name(f".{file.name}.lock")), file.open("a", encoding="utf-8") as results:
        results.write(line)


if __name__ == "__main__":
    sys.exit(main())
