"""Tenrec_x1 from Tenrec's ctr_data_1M.csv (QK-video, 120,342,306 rows, 10 GB).

Source file: ctr_data_1M.csv with user_id, item_id, click, follow, like, share, video_category,
watching_times, gender, age, hist_1 to hist_10.

Rules: rows are dealt at random to train, valid and test, cut at int(0.8 n) and int(0.9 n), which gives the
published sizes 96,273,844 / 12,034,231 / 12,034,231; numpy RandomState(2024); in each file rows stand in
the order of the source, all columns as they are (video_category may be \\N: a value like any other).

Known to differ: the authors' seed and script are not public, so it is an own split. The source has 883,646
duplicated rows, and hist_1 to hist_10 are the same in all rows of a user, as others found; both remain.
"""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.lines import check_header, cut
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe

SEED = 2024
SPLITS = {"train.csv": 0.8, "valid.csv": 0.1, "test.csv": 0.1}
SOURCE = "Tenrec's ctr_data_1M.csv"
COLUMNS = (
    "user_id item_id click follow like share video_category watching_times gender age".split()
    + [f"hist_{number}" for number in range(1, 11)]
)  # fmt: skip


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """Two passes over the text; 2 bytes a row are kept."""
    check_header(sources["rows"], COLUMNS, SOURCE)
    log(f"reading {sources['rows']} twice: the labels, then every row")
    return cut(sources["rows"], "click", SPLITS, SEED, folder)


RECIPE = Recipe(SOURCE, {"rows": ("ctr_data_1M.csv",)}, tuple(SPLITS), write)
