"""`fuxictr`: one table of subcommands, and one place that turns failures into exit codes."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence

from fuxictr_qnn import __version__
from fuxictr_qnn.errors import FuxictrError

# Each module has HELP, add_arguments(parser) and main(arguments).
COMMANDS = {
    "run": "fuxictr_qnn.cli.run",
    "tune": "fuxictr_qnn.cli.tune",
    "compare": "fuxictr_qnn.cli.compare",
    "report": "fuxictr_qnn.cli.report",
    "predict": "fuxictr_qnn.cli.predict",
    "export": "fuxictr_qnn.cli.export",
    "list": "fuxictr_qnn.cli.list",
    "data": "fuxictr_qnn.cli.data",
    "doctor": "fuxictr_qnn.cli.doctor",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 done, 1 failed while running, 2 wrong request, 130 interrupted."""
    try:
        arguments = build_parser().parse_args(argv)
    except KeyboardInterrupt:  # its imports take a moment
        return _interrupted()
    return exit_code(lambda: arguments.main(arguments), arguments.debug)


def exit_code(action: Callable[[], int | None], debug: bool = False) -> int:
    """Do `action`; explain a failure on stderr and return the code that goes with it."""
    try:
        return action() or 0
    except FuxictrError as error:
        _explain(error, debug)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        return 1
    except Exception as error:
        if debug:
            raise
        print(f"fuxictr: {type(error).__name__}: {error}", file=sys.stderr)
        print("fuxictr: this was not foreseen; --debug shows where it happened", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="fuxictr",
        description="Quadratic neural networks for click-through-rate prediction, on FuxiCTR.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fuxictr-qnn {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = importlib.import_module(module_name)
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.__doc__, allow_abbrev=False
        )
        module.add_arguments(subparser)
        subparser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
        subparser.set_defaults(main=module.main)
    return parser


def _interrupted() -> int:
    said = (
        "interrupted; an unfinished run goes on with --resume, a sweep, a comparison or a download with the "
        "same command"
    )
    print(f"fuxictr: {said}", file=sys.stderr)
    return 130


def _explain(error: FuxictrError, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    problems = getattr(error, "problems", [str(error)])
    if len(problems) > 1:
        print(f"fuxictr: {len(problems)} problems", file=sys.stderr)
    for problem in problems:
        print(f"fuxictr: {problem}", file=sys.stderr)
