"""MicroLens_1M_x1 from the challenge organisers' parquet files, in the layout that runs read.

Source files: train.parquet, valid.parquet, item_info.parquet and, where they are there, test.parquet and
item_feature.parquet (the levels dataset needs it).

Rules: rows are copied as they are. item_info.parquet is brought in the order of item_id, so that the row
number is the id; so is item_feature.parquet, of which item_id and the two levels are kept (a config joins
them to the items by `item_features`).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.items.columns import id_problems
from fuxictr_qnn.data.recipes.recipe import Counts, Recipe
from fuxictr_qnn.errors import RequestError

SOURCE = "MicroLens_1M_x1 as the MMCTR challenge publishes it (train, valid and item_info.parquet)"
LEVELS = ["likes_level", "views_level"]
ROWS = ["user_id", "item_seq", "item_id", *LEVELS]
COLUMNS = {
    "train": [*ROWS, "label"],
    "valid": [*ROWS, "label"],
    "test": ROWS,
    "item_info": ["item_id", "item_tags", "item_emb_d128"],
    "item_feature": ["item_id", *LEVELS],
}
SPLITS = ("train", "valid", "test")


def write(sources: dict[str, Path], folder: Path, log: Log) -> dict[str, Counts]:
    """Only the item tables are held in memory."""
    if problems := [problem for key, file in sources.items() for problem in _schema_problems(key, file)]:
        raise RequestError(problems)
    counts = {}
    for key, columns in (("item_info", None), ("item_feature", COLUMNS["item_feature"])):
        if key in sources:
            table = _item_table(sources[key], columns)
            table.write_parquet(folder / f"{key}.parquet")
            counts[f"{key}.parquet"] = Counts(len(table))
    for split in SPLITS:
        if split in sources:
            log(f"copying {sources[split]}")
            shutil.copyfile(sources[split], folder / f"{split}.parquet")
            counts[f"{split}.parquet"] = _counts(folder / f"{split}.parquet")
    return counts


def _schema_problems(key: str, file: Path) -> list[str]:
    try:
        found = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        return [f"'{file}' is no parquet file or is cut off: {str(error).splitlines()[0]}"]
    missing = [name for name in COLUMNS[key] if name not in found]
    return [f"'{file}' lacks the columns {', '.join(missing)}; needed is {SOURCE}"] if missing else []


def _item_table(file: Path, columns: list[str] | None = None) -> pl.DataFrame:
    table = pl.read_parquet(file, columns=columns)
    if problems := id_problems(table["item_id"]):
        raise RequestError(f"'{file}' {problem}" for problem in problems)
    return table.sort("item_id")


def _counts(file: Path) -> Counts:
    parquet = pq.ParquetFile(file)
    if "label" not in parquet.schema_arrow.names:
        return Counts(parquet.metadata.num_rows)
    labels = parquet.read(columns=["label"]).column("label")
    return Counts(len(labels), int(pc.sum(labels).as_py() or 0) if labels.null_count == 0 else None)


RECIPE = Recipe(
    source=SOURCE,
    needs={key: (f"{key}.parquet",) for key in ("train", "valid", "item_info")},
    uses={key: (f"{key}.parquet",) for key in ("test", "item_feature")},
    makes=("train.parquet", "valid.parquet", "item_info.parquet"),
    may_make=("test.parquet", "item_feature.parquet"),
    write=write,
)
# The histories' items carry levels, too: without item_feature.parquet there are none.
WITH_LEVELS = replace(
    RECIPE,
    source=f"{SOURCE}, and item_feature.parquet",
    needs={key: (f"{key}.parquet",) for key in ("train", "valid", "item_info", "item_feature")},
    uses={"test": ("test.parquet",)},
)
