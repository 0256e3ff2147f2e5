"""What needs no Ray that runs; a sweep with Ray is tested in tests/cli/test_tune.py."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")

from fuxictr_qnn.jobs.ray import _Box


def test_an_answer_is_to_what_was_said_last():
    """A worker that was lost before it took its answer must not leave it to the one that goes on."""
    box = _Box()
    box.tell(1, ("evaluated", {"evaluation": 1}))
    box.set_answer(1, False)
    box.tell(1, ("evaluated", {"evaluation": 1}))
    assert box.take_answer(1) is None
    box.set_answer(1, True)
    assert box.take_answer(1) is True and box.take_answer(1) is None
    assert len(box.take()) == 2 and box.take() == []
