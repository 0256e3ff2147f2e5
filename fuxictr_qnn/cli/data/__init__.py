"""Public datasets: list, download, prepare, check and audit them."""

from __future__ import annotations

import argparse
import importlib

HELP = "list, download, prepare, check or audit datasets"

# Each module has HELP, add_arguments(parser) and main(arguments), like a command of its own.
ACTIONS: dict[str, str] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One parser an action; `main` of the chosen one replaces this module's."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, module_name in ACTIONS.items():
        module = importlib.import_module(module_name)
        action = actions.add_parser(name, help=module.HELP, description=module.__doc__)
        module.add_arguments(action)
        action.add_argument("--debug", action="store_true", help="show the traceback of a failure")
        action.set_defaults(action=module.main)


def main(args: argparse.Namespace) -> int:
    return args.action(args)
