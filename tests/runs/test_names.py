"""Names of run folders, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuxictr_qnn.runs.names import RunName, run_name


@pytest.mark.parametrize("expid", ["LR_demo", "a-b", "x-0badc0de"])
def test_a_name_is_read_as_it_was_written(expid):
    assert RunName.of(Path("runs") / run_name(expid, "0123abcd", 7)) == (expid, "0123abcd", 7)


@pytest.mark.parametrize(
    ("folder", "read"),
    [
        ("/elsewhere/seed3", (None, None, 3)),
        ("/LR_demo-0123abcd/copy", ("LR_demo", "0123abcd", None)),
        ("/LR_demo-0123ABCD/seed1.old", (None, None, None)),
        ("/", (None, None, None)),
    ],
)
def test_a_folder_of_another_name_says_less(folder, read):
    assert RunName.of(Path(folder)) == read
