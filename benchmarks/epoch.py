"""An epoch of QNN-alpha on real data, end to end: `fuxictr run`'s loop beside FuxiCTR's loader and fit.

    python -m benchmarks.epoch --data-root DIR [--dataset frappe ml1m] [--turns 3]

DIR/frappe_x1 and DIR/ml_1m_x1 hold the CSV files. Ours: loader, step and evaluation of `fuxictr run`.
FuxiCTR's: RankDataLoader and BaseModel.fit with the layer as it is printed, two full passes a step
(PlainQNNalpha in benchmarks/reference.py). Both train an epoch and evaluate on the validation split again and
again, each in a process of its own; both read the same encoded files.

Only ours has the allocator setting of `fuxictr run` (keep_freed_memory). A side whose first call takes 20 s
is that one call, not warmed up: FuxiCTR's on two cores.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from fuxictr.pytorch.models import BaseModel

from benchmarks.reference import PlainQNNalpha
from benchmarks.sides import Action, hardware, measure, terms
from benchmarks.train_step import device
from benchmarks.workloads import QNN_ALPHA, Workload
from fuxictr_qnn.data import BuiltDataset, Loader, Places, load_feature_map, open_dataset, open_loaders
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.training.device import keep_freed_memory
from fuxictr_qnn.training.fit import Fit
from fuxictr_qnn.training.setup import seed_everything

DATASETS = ("frappe", "ml1m")


def built(workload: Workload, places: Places) -> BuiltDataset:
    return open_dataset(workload.experiment.dataset, places, log=lambda message: None)


def gpu() -> int:
    return 0 if device().type == "cuda" else -1


def our_model(workload: Workload, places: Places) -> tuple[BaseModel, dict[str, Loader]]:
    """The model and the loaders of `fuxictr run`."""
    keep_freed_memory()
    experiment, data = workload.experiment, built(workload, places)
    feature_map = load_feature_map(data.feature_map, experiment.dataset, experiment.features)
    splits = {split: path for split, path in data.splits.items() if split != "test"}
    loaders = open_loaders(
        feature_map,
        splits,
        batch_size=workload.batch_size,
        log=lambda message: None,
        shuffle=True,
        seed=1,
    )
    return workload.model(gpu(), feature_map=feature_map), loaders


def fuxictr_model(workload: Workload, places: Places) -> tuple[BaseModel, Any, Any]:
    """FuxiCTR's two loaders and the plain model."""
    from fuxictr.pytorch.dataloaders import RankDataLoader

    logging.disable(logging.INFO)
    experiment, data = workload.experiment, built(workload, places)
    feature_map = load_feature_map(data.feature_map, experiment.dataset, experiment.features)
    seed_everything(1)
    train, valid = RankDataLoader(
        feature_map, stage="train", train_data=str(data.train), valid_data=str(data.valid),
        batch_size=workload.batch_size, shuffle=True, data_format="parquet",
    )  # fmt: skip
    keys = {"metrics": ["AUC", "logloss"], "monitor": "AUC", "model_root": tempfile.mkdtemp(), "verbose": 0}
    model = PlainQNNalpha(feature_map, gpu=gpu(), **keys, **workload.params)
    Path(model.checkpoint).parent.mkdir(parents=True)  # its fit relies on the folder
    return model, train, valid


def ours(workload: Workload, places: Places) -> Action:
    model, loaders = our_model(workload, places)
    settings = workload.experiment.fit.model_copy(update={"epochs": 1})
    return lambda: Fit(model, settings, loaders["train"], loaders["valid"]).run()


def fuxictr(workload: Workload, places: Places) -> Action:
    model, train, valid = fuxictr_model(workload, places)
    return lambda: model.fit(train, validation_data=valid, epochs=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--build-dir", type=Path, default=Path("builds"))
    parser.add_argument("--dataset", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    places = Places(data_root=args.data_root, build_dir=args.build_dir)
    rows = []
    for workload in (QNN_ALPHA[name] for name in args.dataset):
        built(workload, places)  # once, before the sides need it
        sides = {"FuxiCTR": partial(fuxictr, workload, places), "ours": partial(ours, workload, places)}
        found = measure(sides, args.turns)
        ratio = f"{found['FuxiCTR'].median / found['ours'].median:.2f}"
        rows.append([workload.title, *(found[name].shown(2) for name in sides), ratio])
    header = ["epoch and its evaluation", "FuxiCTR's loader and fit, s", "ours, s", "times faster"]
    print(f"{hardware()}\n\n{markdown(header, rows)}\n\n{terms(__doc__)}")


if __name__ == "__main__":
    main()
