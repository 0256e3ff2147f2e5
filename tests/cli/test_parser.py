"""The options of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.cli.app import build_parser


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


@pytest.mark.parametrize("parser", list(parsers(build_parser())), ids=lambda parser: parser.prog)
def test_every_option_has_help_and_one_spelling(parser):
    assert not parser.allow_abbrev
    options = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    assert [action.dest for action in options if not action.help] == []


def test_seed_is_no_short_form_of_seeds(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--dataset", "demo", "--models", "LR", "DNN", "--seed", "7"])
    assert "unrecognized arguments: --seed 7" in capsys.readouterr().err
