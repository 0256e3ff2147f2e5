"""Try the settings of a tuner file, each once; the same command goes on after an interruption."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from fuxictr_qnn.cli.log import log_to_stdout
from fuxictr_qnn.cli.options import (
    add_data_options,
    add_gpus_option,
    add_set_option,
    add_workers_option,
    add_zoo_option,
    check_gpus,
    check_ray,
    check_writable,
    gpus_of,
    same_places,
)
from fuxictr_qnn.cli.sweep_view import final_table, plan_table, watching
from fuxictr_qnn.cli.tables import plain_console
from fuxictr_qnn.errors import RequestError, RunError, do_all
from fuxictr_qnn.jobs.threads import TOO_FEW_WORKERS, share_of_cores
from fuxictr_qnn.tuning.options import Options
from fuxictr_qnn.tuning.pruning import RULES
from fuxictr_qnn.tuning.search import SEARCHES
from fuxictr_qnn.tuning.tuner_file import Tuner, find_tuner, read_tuner

HELP = "try the settings of a tuner file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr tune`."""
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="TUNER",
        help="FuxiCTR's tuner YAML, or the name of an installed one, such as tuner_QNNalpha_demo",
    )
    add_workers_option(parser, "trials")
    parser.add_argument(
        "--backend",
        choices=["local", "ray"],
        default="local",
        help="processes of this machine (default), or Ray Tune: on the cluster at $RAY_ADDRESS, else on this "
        "machine",
    )
    _add_search_options(parser)
    parser.add_argument(
        "--tag",
        metavar="T",
        help="do only trials with the value T, as num_row=4, or with T in their hash or values",
    )
    parser.add_argument("--retry-failed", action="store_true", help="do failed trials again")
    parser.add_argument(
        "--keep", type=int, default=3, metavar="K", help="keep the weights of the best K trials (default: 3)"
    )
    add_set_option(parser, " for all trials")
    add_zoo_option(parser)
    add_gpus_option(parser)
    add_data_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sweeps"),
        metavar="DIR",
        help="the sweep goes to DIR/<name of the tuner file>/ (default: ./sweeps)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the trials and how they stand; write nothing"
    )


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="grid",
        help="all combinations (default), some at random, or TPE",
    )
    parser.add_argument(
        "--trials", type=int, metavar="K", help="how many in all, those of earlier sessions included"
    )
    parser.add_argument(
        "--prune",
        choices=RULES,
        help="end hopeless trials early: below the median of the others, or not among the best third at "
        "evaluation 1, 3, 9 ...",
    )


def main(args: argparse.Namespace) -> int:
    """Do what is left of the sweep. 0: every trial is done or pruned; 1: some failed."""
    options = Options(args.search, args.trials, args.prune, args.retry_failed, args.tag, args.keep)
    threads, tuner = _check(args, options)
    if args.backend == "local" and not args.dry_run:
        from fuxictr_qnn.jobs.local import shared_server

        shared_server()  # imports what runs need while the space is checked, which imports the same
    from fuxictr_qnn.tuning.data import SweepData
    from fuxictr_qnn.tuning.session import do_sweep, look_at_sweep, open_sweep
    from fuxictr_qnn.tuning.space import Space

    space = Space(tuner, args.zoo)
    data, folder, console = SweepData(args.data_root, args.build_dir), args.out / tuner.name, plain_console()
    for note in space.notes:
        console.print(f"note: {note}", soft_wrap=True)
    if args.dry_run:
        sweep = look_at_sweep(space, folder, data, options)
        console.print(plan_table(sweep))
        return 0
    with log_to_stdout(), open_sweep(space, folder, data, options) as sweep:
        with watching(console, sweep, args.workers) as watch:
            do_sweep(sweep, partial(_pool, args, folder, threads), watch)
        final_table(console, sweep, same_places(args))
    failed = sweep.count("failed")
    if failed:
        raise RunError(
            f"{failed} of {len(sweep.all_rows)} trials failed: the table says why; "
            "--retry-failed does them again"
        )
    return 0


def _check(args: argparse.Namespace, options: Options) -> tuple[int, Tuner]:
    """What can be said without torch; returns the threads of a worker and what the tuner file holds."""
    found: list = []
    checks = [
        lambda: found.append(_threads(args)),
        lambda: found.append(read_tuner(find_tuner(args.config), args.set)),
        options.check,
        lambda: check_writable(args.out, "--out"),
        lambda: check_gpus(args.gpu),
        lambda: _check_ray() if args.backend == "ray" else None,
    ]
    do_all(checks)
    return tuple(found)


def _check_ray() -> None:
    check_ray("--backend ray")
    if (address := os.environ.get("RAY_ADDRESS", "")).startswith("ray://"):
        raise RequestError(
            f"--backend ray: RAY_ADDRESS={address}: not through Ray's client; give the command on a machine "
            "of the cluster, with RAY_ADDRESS=auto"
        )


def _threads(args: argparse.Namespace) -> int:
    """Of a worker on this machine; a cluster knows its own cores."""
    if args.backend == "local":
        return share_of_cores(args.workers)
    if args.workers < 1:
        raise RequestError(TOO_FEW_WORKERS.format(args.workers))
    return 1


def _pool(args: argparse.Namespace, folder: Path, threads: int):
    if args.backend == "ray":
        from fuxictr_qnn.jobs.ray import RayPool

        return RayPool(folder / "ray", args.workers, use_gpu=args.gpu != [-1])
    from fuxictr_qnn.jobs.local import LocalPool

    return LocalPool(args.workers, threads, gpus_of(args.gpu))
