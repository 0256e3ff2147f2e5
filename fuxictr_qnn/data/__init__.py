"""From a file on disk to a batch."""

from fuxictr_qnn.data.building.build import Engine, build_dataset
from fuxictr_qnn.data.dataset import BuiltDataset
from fuxictr_qnn.data.encoded.folder import open_encoded
from fuxictr_qnn.data.feature_map import load_feature_map
from fuxictr_qnn.data.lookup import find_build
from fuxictr_qnn.data.open import open_dataset
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import find_raw_files
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec, LabelSpec
from fuxictr_qnn.lazy import attach

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

__getattr__, __dir__ = attach(
    __name__,
    {  # torch is imported only by those who load batches
        "Loader": "fuxictr_qnn.data.loaders.batches",
        "MemoryLoader": "fuxictr_qnn.data.loaders.memory",
        "StreamingLoader": "fuxictr_qnn.data.loaders.streaming",
        "choose_buffer": "fuxictr_qnn.data.loaders.choice",
        "open_loaders": "fuxictr_qnn.data.loaders.choice",
    },
)
