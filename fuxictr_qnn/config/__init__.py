"""YAML in FuxiCTR's format -> one validated Experiment."""

from fuxictr_qnn.config.catalog import ListedDataset, ListedExpid, list_datasets, list_expids
from fuxictr_qnn.config.dataset import LoadedDataset, load_dataset
from fuxictr_qnn.config.load import DEFAULT_EXPID, EXPECTED_SEED, SEEDS, Loaded, load_experiment

__all__ = [
    "DEFAULT_EXPID",
    "EXPECTED_SEED",
    "SEEDS",
    "ListedDataset",
    "ListedExpid",
    "Loaded",
    "LoadedDataset",
    "list_datasets",
    "list_expids",
    "load_dataset",
    "load_experiment",
]
