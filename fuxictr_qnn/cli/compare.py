"""Compare models by the protocol of docs/comparing.md; the same command goes on after an interruption."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fuxictr_qnn.cli.compare_view import plan_table, watching
from fuxictr_qnn.cli.log import log_to_stdout
from fuxictr_qnn.cli.options import (
    add_config_options,
    add_data_options,
    add_gpus_option,
    add_set_option,
    add_workers_option,
    check_gpus,
    check_writable,
    gpus_of,
)
from fuxictr_qnn.cli.report import add_format_option, add_significance_option, show
from fuxictr_qnn.cli.tables import plain_console
from fuxictr_qnn.comparing.budget import GUESS, numbers_within, read_budget
from fuxictr_qnn.comparing.folder import Folder
from fuxictr_qnn.comparing.request import (
    SEARCHES,
    SEEDS_BY_DEFAULT,
    TRIALS_BY_DEFAULT,
    Request,
    default_name,
    find_configs,
)
from fuxictr_qnn.comparing.space import read_space
from fuxictr_qnn.errors import RequestError, do_all
from fuxictr_qnn.jobs.threads import share_of_cores
from fuxictr_qnn.reporting.protocol import LEAST_SEEDS

if TYPE_CHECKING:
    from fuxictr_qnn.comparing.terms import Terms

HELP = "compare models: tune, train seeds, score test once, report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `fuxictr compare`."""
    _add_what(parser)
    _add_numbers(parser)
    add_workers_option(parser, "runs")
    add_gpus_option(parser)
    add_format_option(parser)
    add_data_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("comparisons"),
        metavar="DIR",
        help="everything goes to DIR/<name>/ (default: ./comparisons)",
    )
    parser.add_argument("--name", metavar="NAME", help="of the folder (default: made of dataset and models)")


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expid",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="compare these configs, by default as they stand",
    )
    parser.add_argument("--dataset", metavar="ID", help="with --models")
    parser.add_argument(
        "--models",
        nargs="+",
        action="extend",
        default=[],
        metavar="M",
        help="compare the configs <M>_<name of the dataset>, each tuned with the same number of trials",
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="also train these as they stand, such as published recipes: outside ranking and tests",
    )
    add_config_options(parser)
    add_set_option(parser, " for all models (of recipes, keys of the data only)")


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trials",
        type=int,
        metavar="T",
        help=f"of each model (default: {TRIALS_BY_DEFAULT} with --models, 0 with --expid)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="K",
        help=f"final seeds 1 to K, not those that the configs name (default: {SEEDS_BY_DEFAULT})",
    )
    parser.add_argument(
        "--more-seeds",
        type=int,
        metavar="K2",
        help="seeds 1 to K2 for the comparator and the proposed model that is best on validation",
    )
    add_significance_option(parser)
    parser.add_argument(
        "--proposed",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="your own models: no baselines, so never the comparator (always so: QNN..., QIN...)",
    )
    parser.add_argument(
        "--recipe-seeds", type=int, default=1, metavar="K", help="of each recipe (default: 1)"
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="random",
        help="the same balanced points for all models (random, default), or TPE for each",
    )
    parser.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="what is searched (default: fuxictr_qnn/comparing/space.yaml)",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="show what it will take here and what it can detect; train nothing",
    )
    parser.add_argument(
        "--budget", metavar="2h", help="choose trials and seeds to fit: hours or minutes, as 2h or 90m"
    )


def main(args: argparse.Namespace) -> int:
    """Do what is left of the comparison, and print its table in short. 1: a model has no row."""
    threads, configs, space = _check(args)
    request, console = _request(args), plain_console()
    folder = Folder(args.out / (args.name or default_name(configs)))
    folder.check_writable()
    from fuxictr_qnn.jobs.local import shared_server

    shared_server()  # imports what runs need while the configs are checked, which imports the same
    from fuxictr_qnn.comparing.opening import prepare
    from fuxictr_qnn.comparing.planning import Stopwatch, make_plan
    from fuxictr_qnn.tuning.data import SweepData

    data, pools = SweepData(args.data_root, args.build_dir), partial(_pool, args, threads)
    line = partial(console.print, soft_wrap=True)
    watch = Stopwatch(folder, data, pools, f"gpu {args.gpu} threads {threads}", args.zoo, line)
    with log_to_stdout():
        choose = partial(_choose_numbers, args, watch, line) if args.budget else None
        prepared = prepare(request, configs, space, folder, data, choose)
        for note in (*prepared.notes, *_notes(args, prepared.terms, prepared.before, folder)):
            line(f"note: {note}")
        if not args.plan:
            return _compare(args, console, folder, prepared, data, pools)
        terms = prepared.terms
        rates = watch.rates(prepared.entrants, terms.data_fingerprint, terms.trials)
        plan_table(console, make_plan(prepared, rates, folder, args.workers))
    return 0


def _notes(args: argparse.Namespace, terms: Terms, before: Terms | None, folder: Folder) -> Iterator[str]:
    if args.budget and before:
        yield f"--budget has no effect: {folder.terms} says how many trials and seeds there are"
    if args.more_seeds and terms.last_seed == terms.seeds:
        yield f"--more-seeds {args.more_seeds} adds nothing: all have the seeds 1 to {terms.seeds}"
    if terms.seeds < LEAST_SEEDS:
        yield f"--seeds {terms.seeds}: no tests, they need {LEAST_SEEDS} seeds"


def _compare(
    args: argparse.Namespace, console: Console, folder: Folder, prepared: Any, data: Any, pools: Callable
) -> int:
    from fuxictr_qnn.comparing.opening import open_comparison
    from fuxictr_qnn.comparing.results import report_on

    line = partial(console.print, soft_wrap=True)
    line(f"{folder.path}: {prepared.terms.trials} trials and {prepared.terms.seeds} seeds each")
    with watching(console, args.workers) as watch:
        with open_comparison(prepared, folder, data, pools, watch) as comparison:
            comparison.run()
            section, left_out, files = report_on(comparison, args.format, log=line)
    show(console, [section], left_out, files)
    return int(len(section.comparison.entries) < len(prepared.entrants))


def _check(args: argparse.Namespace) -> tuple:
    """What can be said without torch: the threads of a worker, the configs that are named, the space."""
    found: dict[str, Any] = {}
    request = _request(args)
    do_all(
        [
            request.check,
            lambda: found.update(threads=share_of_cores(args.workers)),
            lambda: found.update(configs=find_configs(request)),
            lambda: found.update(space=read_space(args.space)),
            lambda: check_writable(args.out, "--out"),
            lambda: _check_budget(args),
            lambda: _check_search(args),
            lambda: _check_name(args.name),
            partial(check_gpus, args.gpu),
        ]
    )
    return found["threads"], found["configs"], found["space"]


def _check_budget(args: argparse.Namespace) -> None:
    if args.budget:
        read_budget(args.budget)


def _check_search(args: argparse.Namespace) -> None:
    if args.search == "tpe":
        from fuxictr_qnn.tuning.tpe import require_optuna

        require_optuna()


def _check_name(name: str | None) -> None:
    if name is not None and (name in ("", ".", "..") or Path(name).name != name):
        raise RequestError(f"--name {name}: expected the name of a folder; --out says where it goes")


def _request(args: argparse.Namespace) -> Request:
    return Request(
        expids=tuple(args.expid),
        dataset=args.dataset,
        models=tuple(args.models),
        config=args.config,
        trials=args.trials,
        seeds=args.seeds,
        more_seeds=args.more_seeds,
        significance=args.significance,
        proposed=tuple(args.proposed),
        search=args.search,
        recipes=tuple(args.recipe),
        recipe_seeds=args.recipe_seeds,
        sets=tuple(args.set),
        space=args.space,
        zoo=args.zoo,
    )


def _choose_numbers(
    args: argparse.Namespace,
    watch: Any,
    line: Callable[[str], None],
    entrants: list,
    fingerprint: str,
    trials: int,
    seeds: int,
) -> tuple[int, int]:
    """Trials and seeds for --budget; says which, and by what estimate."""
    rates = list(watch.rates(entrants, fingerprint, trials).values())
    chosen = numbers_within(
        read_budget(args.budget),
        rates,
        args.workers,
        trials=args.trials,
        seeds=args.seeds,
        tuned=trials > 0,
        recipe_seeds=args.recipe_seeds,
        more_seeds=args.more_seeds,
    )
    how = "" if all(rate.known for rate in rates) else f"; {GUESS}"
    line(f"--budget {args.budget}: {chosen[0]} trials and {chosen[1]} seeds of each model{how}")
    return chosen


def _pool(args: argparse.Namespace, threads: int, workers: int | None = None):
    from fuxictr_qnn.jobs.local import LocalPool

    return LocalPool(workers or args.workers, threads, gpus_of(args.gpu))
