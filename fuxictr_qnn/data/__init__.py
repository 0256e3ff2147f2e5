"""From a file on disk to a batch."""

from importlib import import_module

from fuxictr_qnn.data.building.build import Engine, build_dataset
from fuxictr_qnn.data.dataset import BuiltDataset
from fuxictr_qnn.data.encoded.folder import open_encoded
from fuxictr_qnn.data.feature_map import load_feature_map
from fuxictr_qnn.data.lookup import find_build
from fuxictr_qnn.data.open import open_dataset
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import find_raw_files
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec, LabelSpec

__all__ = [
    "BuiltDataset",
    "ColumnSpec",
    "DatasetSpec",
    "Engine",
    "LabelSpec",
    "Loader",
    "MemoryLoader",
    "Places",
    "StreamingLoader",
    "build_dataset",
    "choose_buffer",
    "find_build",
    "find_raw_files",
    "load_feature_map",
    "open_encoded",
    "open_dataset",
    "open_loaders",
]


_LOADERS = {  # torch is imported only by those who load batches
    "Loader": "batches",
    "MemoryLoader": "memory",
    "StreamingLoader": "streaming",
    "choose_buffer": "choice",
    "open_loaders": "choice",
}


def __getattr__(name: str):
    if name in _LOADERS:
        return getattr(import_module(f"fuxictr_qnn.data.loaders.{_LOADERS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
