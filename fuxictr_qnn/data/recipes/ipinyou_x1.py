"""iPinYou_x1 with a validation split of its own, from the published train.csv and test.csv.

Source files: train.csv and test.csv of reczoo/iPinYou_x1.

Rules: a tenth of train.csv, drawn at random (numpy RandomState(2024)), becomes valid.csv: 15,395,258 rows
give 13,855,732 and 1,539,526. Rows stand in the order of the source; test.csv holds the same rows as before.

Known to differ: the authors of QNN-alpha validated on the test file; the dataset ipinyou_x1_parity does so,
with the published files as they are.
"""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.recipes.lines import check_header, cut
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError

SEED = 2024
SPLITS = {"train.csv": 0.9, "valid.csv": 0.1}
SOURCE = "iPinYou_x1 as reczoo publishes it (train.csv and test.csv)"
COLUMNS = (
    "click weekday hour IP region city adexchange domain slotid slotwidth slotheight slotvisibility "
    "slotformat creative advertiser useragent slotprice"
).split()


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """Two passes over each file's text; 2 bytes a row are kept."""
    headers = [check_header(file, COLUMNS, SOURCE) for file in sources.values()]
    if headers[0] != headers[1]:
        raise RequestError(f"'{sources['train']}' and '{sources['test']}' differ in their header lines")
    log(f"cutting {sources['train']}")
    counts = cut(sources["train"], "click", SPLITS, SEED, folder)
    return counts | cut(sources["test"], "click", {"test.csv": 1.0}, SEED, folder)


RECIPE = Recipe(
    source=SOURCE,
    needs={"train": ("train.csv",), "test": ("test.csv",)},
    makes=("train.csv", "valid.csv", "test.csv"),
    write=write,
)
