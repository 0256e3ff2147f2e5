"""What a run starts from, looked at before anything is loaded."""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.serving.saved import open_run
from fuxictr_qnn.training.starting_point import find_source


def check_start(place: Path) -> None:
    """Refuse a place that no run can start from; a run folder must be as its run left it.

    Raises:
        RequestError: with messages that do not name the option or key.
    """
    source = find_source(place.expanduser())
    if not place.expanduser().is_file():
        open_run(source.weights.parent)
