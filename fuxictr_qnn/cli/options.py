"""Options that several commands share, and what they mean on this machine."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fuxictr_qnn.defaults import DATA_ROOT, default_build_dir, default_data_root
from fuxictr_qnn.errors import RequestError, do_all
from fuxictr_qnn.files import is_writable


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """--data-root."""
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        default=default_data_root(),
        help="raw files are in DIR/<dataset_id>/ (default: $FUXICTR_DATA, else ./data)",
    )


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """--data-root and --build-dir."""
    add_data_root(parser)
    parser.add_argument(
        "--build-dir",
        type=Path,
        metavar="DIR",
        default=default_build_dir(),
        help="where builds go (default: $FUXICTR_BUILDS, else beside the raw files)",
    )


def add_dataset_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The dataset (`several`: one or more) and --config."""
    names = {"dest": "dataset_ids", "nargs": "+"} if several else {"dest": "dataset_id"}
    parser.add_argument(metavar="ID", help="as `fuxictr data list` shows it", **names)
    add_dataset_config(parser)


def add_dataset_config(parser: argparse.ArgumentParser) -> None:
    """--config, where datasets are looked for."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="DIR",
        help="a FuxiCTR config directory with datasets of its own (default: the installed ones only)",
    )


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """--config, where experiments are looked for."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="DIR|FILE",
        help="a FuxiCTR config directory, a model_config.yaml, or a run folder's config.yaml "
        "(default: the installed model_zoo)",
    )


def add_zoo_option(parser: argparse.ArgumentParser) -> None:
    """--zoo, of commands that train."""
    parser.add_argument("--zoo", type=Path, metavar="DIR", help="a FuxiCTR checkout whose models come first")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """--config and --zoo."""
    add_config_option(parser)
    add_zoo_option(parser)


def add_set_option(parser: argparse.ArgumentParser, of: str = "") -> None:
    """--set; `of` says for what, where that is not plain."""
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help=f"override a config key{of}; VALUE is YAML, a dotted KEY goes into a mapping",
    )


def as_typed(args: argparse.Namespace, *words: str) -> str:
    """A command for the user to go on with, with the --config and --data-root of this one."""
    if args.config:
        words += "--config", str(args.config)
    return shlex.join(("fuxictr", *words, *same_places(args)))


def same_places(args: argparse.Namespace) -> list[str]:
    """The options of this command by which another one finds the same data and models."""
    found = {"--data-root": args.data_root if args.data_root != DATA_ROOT else None}
    found |= {"--build-dir": getattr(args, "build_dir", None), "--zoo": getattr(args, "zoo", None)}
    return [word for option, place in found.items() if place for word in (option, str(place))]


def check_gpu(gpu: int | None) -> None:
    """RequestError for a GPU that is not there. -1 is the CPU, None whatever there is."""
    if gpu is not None and gpu < -1:
        raise RequestError(f"--gpu {gpu}: expected the number of a GPU, from 0 up, or -1 for the CPU")
    if gpu is not None and gpu >= 0:
        from fuxictr_qnn.training.device import choose_gpu

        choose_gpu(gpu)


def add_workers_option(parser: argparse.ArgumentParser, what: str) -> None:
    """--workers, for a command that does several runs, or trials, at a time."""
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help=f"{what} at a time, one worker each (in run: how many share each run; default: 1)",
    )


def add_gpus_option(parser: argparse.ArgumentParser) -> None:
    """--gpu, for workers that share several."""
    parser.add_argument(
        "--gpu",
        nargs="+",
        type=int,
        metavar="N",
        help="the workers share these GPUs; -1: the CPU (default: all GPUs there are)",
    )


def check_gpus(gpus: Sequence[int] | None) -> None:
    """RequestError for a GPU of `add_gpus_option` that is not there, or the CPU among GPUs."""
    do_all(partial(check_gpu, gpu) for gpu in gpus or ())
    if gpus and -1 in gpus and len(gpus) > 1:
        raise RequestError("--gpu: -1 is the CPU; name it alone, or GPUs")


def gpus_of(given: Sequence[int] | None) -> list[int]:
    """Those that the workers share: as given, else all, else the CPU (-1)."""
    if given:
        return list(given)
    import torch

    return list(range(torch.cuda.device_count())) or [-1]


def add_distributed_options(parser: argparse.ArgumentParser) -> None:
    """--distributed and --workers."""
    parser.add_argument(
        "--distributed",
        choices=["ray", "torchrun"],
        help="train on several workers, which share every batch: those of Ray Train (the cluster at "
        "$RAY_ADDRESS, else this machine), or of torchrun on this machine",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="how many share each run (in tune and compare: runs at a time); each takes a GPU where there "
        "are any",
    )


def distributed_problems(args: argparse.Namespace) -> list[str]:
    """What is wrong with --distributed, --workers and --gpu together; under torchrun, its number counts."""
    from fuxictr_qnn.training.distributed import torchrun

    under_torchrun = torchrun.rank() is not None
    problems = []
    if args.workers is not None and args.workers < 1:
        problems.append(f"--workers {args.workers}: expected a number of at least 1")
    if under_torchrun and (args.distributed or args.workers is not None):
        problems.append("torchrun has started the workers already: leave out --distributed and --workers")
    elif args.workers is not None and args.distributed is None:
        problems.append(
            "--workers needs --distributed ray or --distributed torchrun, which say how to start them"
        )
    elif args.distributed and args.workers is None:
        problems.append(f"--distributed {args.distributed} needs --workers N, the number of workers")
    if (under_torchrun or args.distributed) and args.gpu is not None and args.gpu >= 0:
        problems.append(
            f"--gpu {args.gpu} names one GPU, but each worker takes one of its own: leave it out, or train "
            "on CPUs by --gpu -1"
        )
    return problems


def check_ray(option: str) -> None:
    """RequestError unless Ray, which `option` needs, is installed."""
    from fuxictr_qnn.data.building.ray import require_ray

    require_ray(option)


def check_writable(folder: Path, option: str) -> None:
    """RequestError unless `folder` is, or could become, a folder that we may write to. Creates nothing."""
    if not is_writable(folder.absolute()):
        raise RequestError(f"{option} {folder}: cannot be written; name a folder that you own")
