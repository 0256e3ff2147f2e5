"""Public datasets: list, download, prepare, check and audit them."""

from __future__ import annotations

import argparse
import importlib

HELP = "list, download, prepare, check or audit datasets"

# Each module has HELP, add_arguments(parser) and main(arguments), like a command of its own.
ACTIONS: dict[str, str] = {
    "list": "fuxictr_qnn.cli.data.list",
    "get": "fuxictr_qnn.cli.data.get",
    "prepare": "fuxictr_qnn.cli.data.prepare",
    "check": "fuxictr_qnn.cli.data.check",
    "audit": "fuxictr_qnn.cli.data.audit",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One parser an action; `main` of the chosen one replaces this module's."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, module_name in ACTIONS.items():
        module = importlib.import_module(module_name)
        action = actions.add_parser(name, help=module.HELP, description=module.__doc__, allow_abbrev=False)
        module.add_arguments(action)
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of a failure"
        )
        action.set_defaults(action=module.main)


def main(args: argparse.Namespace) -> int:
    """Do the action that was named."""
    return args.action(args)
