"""Frappe_x1 from the libsvm files that circulate (those of NFM and AFN, split 7:2:1).

Source files: train.libsvm, valid.libsvm, test.libsvm (or frappe.train.libsvm, frappe.validation.libsvm,
frappe.test.libsvm), a line a row: the label, then ten times `id:1`, one id a field.

Rules: ids are kept, they count through all fields from 0; a label of -1 is 0; rows stay in order. Lines end
with CR LF, as in the published files: valid.csv and test.csv get the published md5 (train.csv was not
compared).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.raw.csv_text import read_text
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError, shown

SOURCE = "Frappe as libsvm files (train, valid and test.libsvm; ten ids a line after the label)"
SPLITS = ("train", "valid", "test")
# The first id of each field; fields are in this order.
FIRST_IDS = {
    "user": 0,
    "item": 957,
    "daytime": 5039,
    "weekday": 5046,
    "isweekend": 5053,
    "homework": 5055,
    "cost": 5058,
    "weather": 5060,
    "country": 5069,
    "city": 5149,
}
IDS = 5382
LINE = (
    r"^(?<label>-?[01])(?:\.0+)?" + "".join(rf"\s+(?<{name}>\d+):1(?:\.0+)?" for name in FIRST_IDS) + r"\s*$"
)


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """In memory: 288,609 rows."""
    tables, problems = {}, []
    for split in SPLITS:
        try:
            tables[split] = _read(sources[split])
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    for split, table in tables.items():
        table.write_csv(folder / f"{split}.csv", line_terminator="\r\n")
    return {f"{split}.csv": Counts(len(table), int(table["label"].sum())) for split, table in tables.items()}


def _read(file: Path) -> pl.DataFrame:
    lines = pl.Series("line", read_text(file).split("\n"))
    table = lines.str.extract_groups(LINE).struct.unnest().cast(pl.Int64)
    ends = [*list(FIRST_IDS.values())[1:], IDS]
    in_field = pl.all_horizontal(
        pl.col(name).is_between(first, end - 1)
        for (name, first), end in zip(FIRST_IDS.items(), ends, strict=True)
    )
    wrong = table.select((~in_field).fill_null(True))[:, 0]
    if wrong.any():
        at = int(wrong.arg_max())
        raise RequestError(f"'{file}', line {at + 1}: {shown(lines[at])} is not a line of {SOURCE}")
    return table.with_columns(pl.col("label").clip(0, 1))


RECIPE = Recipe(
    source=SOURCE,
    needs={
        "train": ("train.libsvm", "frappe.train.libsvm"),
        "valid": ("valid.libsvm", "frappe.validation.libsvm"),
        "test": ("test.libsvm", "frappe.test.libsvm"),
    },
    makes=tuple(f"{split}.csv" for split in SPLITS),
    write=write,
)
