"""The command line: parse, call, print. No logic of its own."""

from fuxictr_qnn.cli.app import main

__all__ = ["main"]
