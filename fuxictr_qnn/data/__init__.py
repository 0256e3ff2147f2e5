"""From a file on disk to a batch."""

from fuxictr_qnn.data.building.build import build_dataset
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
    "LabelSpec",
    "MemoryLoader",
    "Places",
    "StreamingLoader",
    "build_dataset",
    "find_build",
    "find_raw_files",
    "load_feature_map",
    "open_encoded",
    "open_dataset",
]


def __getattr__(name: str):
    if name == "MemoryLoader":  # torch is imported only by those who load batches
        from fuxictr_qnn.data.loaders.memory import MemoryLoader

        return MemoryLoader
    if name == "StreamingLoader":
        from fuxictr_qnn.data.loaders.streaming import StreamingLoader

        return StreamingLoader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
