"""Whether a dataset is built already, found out without writing anything."""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.data.building.build import is_complete
from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.plan import with_hint
from fuxictr_qnn.data.encoded.folder import find_encoded
from fuxictr_qnn.data.fingerprint import ContentHashes, fingerprint
from fuxictr_qnn.data.places import Places
from fuxictr_qnn.data.raw.inputs import Inputs
from fuxictr_qnn.data.simulated.simulation import find_simulated
from fuxictr_qnn.data.spec import DatasetSpec


def find_build(spec: DatasetSpec, places: Places) -> Path | None:
    """feature_map.json of the complete build of this config and these files, None if there is none.

    For encoded data it is the file that came with it.

    Raises:
        RequestError: raw or encoded files are missing.
    """
    places = with_hint(spec, places)
    if spec.generator:
        found = find_simulated(spec, places)
        if found is None:
            return None
        spec = found
    if spec.is_encoded:
        return find_encoded(spec, places)
    folder = find_built(spec, places)
    return folder / "feature_map.json" if folder else None


def find_built(spec: DatasetSpec, places: Places, log: Log = lambda message: None) -> Path | None:
    """The folder of the complete build of this config and these raw files, None if there is none.

    A build is named by the hashes of its files: where there are builds, the files are read.

    Args:
        log: gets a line before that.

    Raises:
        RequestError: raw files are missing.
    """
    inputs = Inputs.find(spec, places)
    for folder in places.build_folders(spec.dataset_id):
        if not any(folder.glob("built-*")):
            continue
        log(f"looking for the build of these files in {folder}")
        build = folder / f"built-{fingerprint(spec, inputs.contents(ContentHashes(folder)))}"
        if is_complete(build):
            return build
    return None


def build_named(fingerprint: str, dataset_id: str, places: Places) -> Path | None:
    """The folder of the complete build with this fingerprint, whatever the raw files are now, or None."""
    folders = [folder / f"built-{fingerprint}" for folder in places.build_folders(dataset_id)]
    return next(filter(is_complete, folders), None)
