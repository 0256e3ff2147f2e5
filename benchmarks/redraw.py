"""Frappe's training split with other negatives: what a result owes to the draw that made them.

    python -m benchmarks.redraw --data-root data --seed 1 --to data_redraw1
    fuxictr run --expid QNNalpha_frappe --data-root data_redraw1

The makers of Frappe_x1 gave each use of an app two negatives: the same user and context, with an item drawn
uniformly among those the user never used. Here all negatives of the training split are drawn anew by that
rule; uses are those of all three splits. Validation and test are copied as they are.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from fuxictr_qnn.files import write_bytes

SPLITS = ("train", "valid", "test")


def redrawn(train: pl.DataFrame, others: list[pl.DataFrame], seed: int) -> pl.DataFrame:
    """The training rows, in their order, with other items in those whose label is 0.

    Args:
        train, others: columns label, user, item and any others.

    Raises:
        ValueError: a user who used every item.
    """
    rng = np.random.default_rng(seed)
    rows = pl.concat([part.select("label", "user", "item") for part in (train, *others)])
    items = rows["item"].unique().sort().to_numpy()
    used = {
        user: set(part)
        for user, part in rows.filter(pl.col("label") == 1).group_by("user").agg("item").iter_rows()
    }
    label, user, item = (train[name].to_numpy() for name in ("label", "user", "item"))
    item = item.copy()
    for name in np.unique(user[label == 0]):
        places = np.flatnonzero((label == 0) & (user == name))
        unused = items[~np.isin(items, list(used.get(name, ())))]
        if not len(unused):
            raise ValueError(f"user {name} used every item: there is none to draw")
        item[places] = rng.choice(unused, size=len(places))
    return train.with_columns(pl.Series("item", item))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--to", type=Path, required=True, help="a new data root")
    args = parser.parse_args()
    source, target = args.data_root / "frappe_x1", args.to / "frappe_x1"
    train, *others = (pl.read_csv(source / f"{split}.csv") for split in SPLITS)
    target.mkdir(parents=True, exist_ok=True)
    for split in SPLITS[1:]:
        shutil.copyfile(source / f"{split}.csv", target / f"{split}.csv")
    after = redrawn(train, others, args.seed)
    write_bytes(target / "train.csv", after.write_csv().encode())
    changed = int((after["item"] != train["item"]).sum())
    print(f"{target / 'train.csv'}: {changed:,} of {len(train):,} rows have another item")


if __name__ == "__main__":
    main()
