"""The one door to a dataset, whatever it is made from."""

from __future__ import annotations

from fuxictr_qnn.data.building.build import Engine, build_dataset
from fuxictr_qnn.data.dataset import BuiltDataset, Log
from fuxictr_qnn.data.download.plan import with_hint
from fuxictr_qnn.data.encoded.folder import open_encoded
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.simulated.simulation import write_simulated
from fuxictr_qnn.data.spec import DatasetSpec


def open_dataset(
    spec: DatasetSpec,
    places: Places,
    log: Log = print,
    *,
    task: str = "binary_classification",
    engine: Engine = "local",
) -> BuiltDataset:
    """Simulate, build, reuse or open the dataset that a config describes.

    Args:
        log: gets a line before long work.
        task: "binary_classification" (labels 0 and 1) or "regression".
        engine: "local", or "ray" to build on a Ray cluster.

    Raises:
        RequestError: the config or its data is wrong. RunError: writing failed.
    """
    places = with_hint(spec, places)
    if spec.generator:
        spec = write_simulated(spec, places, log)
    if spec.is_encoded:
        return open_encoded(spec, places)
    return build_dataset(spec, places, task=task, log=log, engine=engine)
