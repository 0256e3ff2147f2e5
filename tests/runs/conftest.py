"""A trained run, as the tests of serving have it."""

from tests.serving.conftest import copy, trained

__all__ = ["copy", "trained"]
