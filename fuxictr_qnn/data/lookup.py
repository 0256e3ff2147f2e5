"""Whether a dataset is built already, found out without writing anything."""

from __future__ import annotations

from pathlib import Path

from fuxictr_qnn.data.build import _find_pretrained, is_complete
from fuxictr_qnn.data.encoded import open_encoded
from fuxictr_qnn.data.fingerprint import ContentHashes, fingerprint
from fuxictr_qnn.data.places import Places, find_raw_files, user_cache
from fuxictr_qnn.data.spec import DatasetSpec


def find_build(spec: DatasetSpec, places: Places) -> Path | None:
    """feature_map.json of the complete build of exactly this config and these files, None if there is none.

    For encoded data it is the file that came with it.

    Raises:
        RequestError: raw or encoded files are missing.
    """
    if not spec.feature_cols:
        return open_encoded(spec, places).feature_map
    if spec.generator and not places.find(spec.train_data or "", spec.dataset_id):
        return None
    files = find_raw_files(spec, places)
    pretrained = _find_pretrained(spec, places)
    roots = [places.build_dir] if places.build_dir else [places.data_root, user_cache()]
    for root in roots:
        folder = root.absolute() / spec.dataset_id
        if not any(folder.glob("built-*")):
            continue
        hashes = ContentHashes(folder)
        contents = {split: [hashes.of(file) for file in found] for split, found in files.items()}
        contents |= {f"pretrained {name}": [hashes.of(file)] for name, file in pretrained.items()}
        build = folder / f"built-{fingerprint(spec, contents)}"
        if is_complete(build):
            return build / "feature_map.json"
    return None
