"""Train a model on a dataset, score it on the test data, and keep all of it in a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuxictr_qnn.cli.log import log_to_stdout
from fuxictr_qnn.cli.options import (
    add_config_options,
    add_data_options,
    add_distributed_options,
    add_set_option,
    check_gpu,
    check_ray,
    check_writable,
    distributed_problems,
)
from fuxictr_qnn.cli.tables import plain_console, results_table
from fuxictr_qnn.config import DEFAULT_EXPID, EXPECTED_SEED, SEEDS, Loaded, load_experiment
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.distributed.checks import check_workers
from fuxictr_qnn.training.distributed.torchrun import first_speaks, rank, world_size

HELP = "train and score one or more experiments"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr run`."""
    parser.add_argument(
        "--expid", nargs="+", action="extend", metavar="ID", help=f"experiments (default: {DEFAULT_EXPID})"
    )
    add_config_options(parser)
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", nargs="+", action="extend", type=int, metavar="S", help="run each seed")
    seeds.add_argument(
        "--seeds", type=int, metavar="K", help="the config's seed and the K-1 after it (in compare: 1 to K)"
    )
    add_set_option(parser)
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        help="start from the weights of a run folder, the newest complete run of an expid below --out that "
        "kept them, or a file of FuxiCTR's (.model): rows of embeddings are carried over by token",
    )
    parser.add_argument("--gpu", type=int, metavar="N", help="-1: the CPU (default: a GPU if there is one)")
    parser.add_argument("--amp", choices=["bf16"], help="mixed precision")
    add_data_options(parser)
    parser.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="what builds the data: this process (default, the fastest on one machine), or FuxiCTR's own "
        "encoder on the Ray cluster at $RAY_ADDRESS, for raw data that one machine takes too long to encode; "
        "the build is the same",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="run folders (default: ./runs)"
    )
    add_distributed_options(parser)
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run, or a complete one with more epochs",
    )
    again.add_argument("--force", action="store_true", help="run again even where a run is complete")
    parser.add_argument("--dry-run", action="store_true", help="show what would run; write nothing")


def main(args: argparse.Namespace) -> int:
    """Run every (experiment, seed) that the arguments name, then print one table over them."""
    with first_speaks():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    loaded = _checked(args)
    console = plain_console()
    for note in dict.fromkeys(note for item in loaded for note in item.notes):
        console.print(f"note: {note}", soft_wrap=True)
    if args.dry_run:
        from fuxictr_qnn.cli.dry_run import show

        for item in loaded:
            show(console, item, seeds_of(item, args), args)
        return 0
    from fuxictr_qnn.training.distributed.launch import do_runs

    results = do_runs(
        [call for item in loaded for call in _calls(item, args)],
        gpu=args.gpu,
        distributed=args.distributed,
        workers=args.workers,
        output=log_to_stdout,
    )
    best = _best_possible(loaded)
    console.print(results_table([result.metrics for result in results], best))
    for result in results:
        console.print(f"{'kept' if result.reused else 'wrote'} {result.folder}", soft_wrap=True)
    return 0


def _calls(item: Loaded, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What to call `run_seed` with, for each seed."""
    from fuxictr_qnn.data import Places

    places = Places(data_root=args.data_root, build_dir=args.build_dir, config_dir=item.config_dir)
    for seed in seeds_of(item, args):
        yield {
            "experiment": item.experiment,
            "seed": seed,
            "places": places,
            "out": args.out,
            "zoo": args.zoo,
            "resume": args.resume,
            "force": args.force,
            "engine": args.engine,
            "keep_checkpoint": True,
        }


def seeds_of(item: Loaded, args: argparse.Namespace) -> list[int]:
    """The seeds to run an experiment with."""
    if args.seed:
        return list(dict.fromkeys(args.seed))
    return [item.seed + index for index in range(args.seeds or 1)]


def _checked(args: argparse.Namespace) -> list[Loaded]:
    """Every experiment; RequestError with the problems of all of them together."""
    overrides = [*args.set, *([f"amp={args.amp}"] if args.amp else [])]
    expids = list(dict.fromkeys(args.expid)) if args.expid else [None]
    problems: list[str] = []

    def attempt(action: Callable, *arguments):
        try:
            return action(*arguments)
        except RequestError as error:
            problems.extend(error.problems)
            return None

    if args.seeds is not None and args.seeds < 1:
        problems.append(f"--seeds {args.seeds}: expected a number of at least 1")
    problems += [f"--seed {seed}: expected {EXPECTED_SEED}" for seed in args.seed or [] if seed not in SEEDS]
    attempt(check_writable, args.out, "--out")
    attempt(check_gpu, args.gpu)
    if args.engine == "ray":
        attempt(check_ray, "--engine ray")
    if args.distributed == "ray":
        attempt(check_ray, "--distributed ray")
    problems += distributed_problems(args)
    if args.init_from:
        overrides += attempt(_start, args.init_from, args.out) or []
    loaded = [attempt(load_experiment, expid, args.config, overrides, args.zoo) for expid in expids]
    last = max((item.seed + (args.seeds or 1) - 1 for item in loaded if item), default=0)
    if last not in SEEDS:
        problems.append(f"--seeds {args.seeds}: the last would be {last}; expected {EXPECTED_SEED}")
    workers = args.workers if rank() is None else world_size()
    if workers and not problems:
        attempt(check_workers, [item.experiment for item in loaded], workers, args.zoo)
    if problems:
        raise RequestError(dict.fromkeys(problems))
    return loaded


def _start(where: str, out: Path) -> list[str]:
    """The override that --init-from stands for; a name that is no place is an expid's newest run.

    Raises:
        RequestError: there is no run or file of weights, or the run is not as it was left.
    """
    import json

    from fuxictr_qnn.runs.saved import check_start, open_run

    place = Path(where)
    try:
        if place.exists() or place.name != where:
            check_start(place)
        else:
            place = open_run(where, out).folder
    except RequestError as error:
        said = (text.removeprefix(f"--run {where}: ").removeprefix("init_from: ") for text in error.problems)
        raise RequestError(f"--init-from {where}: {text}" for text in said) from None
    return [f"init_from={json.dumps(str(place))}"]


def _best_possible(loaded: list[Loaded]) -> dict[str, float] | None:
    """The test metrics of the true click probabilities, where all experiments share data that knows them."""
    datasets = {item.experiment.dataset.dataset_id: item.experiment.dataset for item in loaded}
    generator = next(iter(datasets.values())).generator
    if len(datasets) > 1 or not generator:
        return None
    from fuxictr_qnn.data.simulated.simulation import best_possible

    return best_possible(generator)
