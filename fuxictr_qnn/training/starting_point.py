"""Where a run's first weights come from: a run folder, or a file of weights from elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.files import hash_of
from fuxictr_qnn.runs.files import RunFiles

VOCABULARIES = "feature_vocab.json"


class StartingPoint(BaseModel):
    """The key `init_from`.

    Attributes:
        weights: a run folder, or a file with a state dict; absolute.
        fingerprint: of its weights and vocabularies. It, not the path, makes a warm run another run.
        rename: begin of names in a file from elsewhere -> begin of the model's own names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    weights: str
    fingerprint: str
    rename: dict[str, str] = {}


@dataclass(frozen=True)
class Source:
    """The files of a starting point; those that it lacks are None.

    Attributes:
        vocabularies: FuxiCTR's feature_vocab.json of the data that the weights were trained on.
        preprocessing: preprocessing.json of the same build, which knows its buckets.
    """

    weights: Path
    vocabularies: Path | None
    preprocessing: Path | None

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of weights and vocabularies."""
        digest = hashlib.sha256()
        for file in filter(None, (self.weights, self.vocabularies)):
            digest.update(bytes.fromhex(hash_of(file)))
        return digest.hexdigest()[:16]


def find_source(place: Path) -> Source:
    """The files of a run folder, or of a file of weights with its vocabularies beside it.

    Raises:
        RequestError: there is nothing to start from.
    """
    if place.is_file():
        return _source(place, place.parent)
    if not place.is_dir():
        raise RequestError(f"init_from: '{place}' is not there; name a run folder, or a file of weights")
    seeds = [file.parent for file in sorted(place.glob("seed*/config.yaml"))]
    if not RunFiles(place).is_begun and len(seeds) == 1:
        place = seeds[0]
    if (obstacle := RunFiles(place).obstacle) is not None:
        named = f"; name one of its runs: {', '.join(map(str, seeds[:3]))}" if len(seeds) > 1 else ""
        raise RequestError(f"init_from: {obstacle}{named}")
    return _source(place / "model.pt", place / "features")


def starting_point(value: Any) -> StartingPoint:
    """What a config says under `init_from`: a place, or the mapping that a run's config.yaml keeps.

    A mapping with a fingerprint is believed until its weights are read.

    Raises:
        RequestError: it is neither, or there is nothing to start from.
    """
    given = {"weights": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("weights"), str):
        raise RequestError(
            f"init_from = {value!r}: expected a run folder or a file of weights, or a mapping with weights "
            "and, for a file from elsewhere, rename"
        )
    unknown = sorted(given.keys() - StartingPoint.model_fields.keys())
    rename = given.get("rename") or {}
    if (
        unknown
        or not isinstance(rename, dict)
        or not all(isinstance(x, str) for x in [*rename, *rename.values()])
    ):
        raise RequestError(
            f"init_from: {', '.join(unknown) or 'rename'}: expected weights: PLACE and rename: {{OLD: NEW}}, "
            "begins of names of weights"
        )
    place = Path(given["weights"]).expanduser().absolute()
    fingerprint = given.get("fingerprint") or find_source(place).fingerprint
    return StartingPoint(weights=str(place), fingerprint=str(fingerprint), rename=rename)


def read_source(start: StartingPoint) -> Source:
    """The files of a starting point, if they still are those that it was made of.

    Raises:
        RequestError: they are gone or have changed.
    """
    source = find_source(Path(start.weights))
    if (found := source.fingerprint) != start.fingerprint:
        raise RequestError(
            f"init_from: '{start.weights}' has changed: the fingerprint of its weights and vocabularies was "
            f"{start.fingerprint}, and is {found} now; --init-from with its path takes them as they are now"
        )
    return source


def buckets_of(preprocessing: Path | None) -> dict[str, dict[str, Any]]:
    """Column -> the state of its buckets, of a build's preprocessing.json.

    Raises:
        RequestError: it is no such file.
    """
    if preprocessing is None:
        return {}
    try:
        buckets = json.loads(preprocessing.read_text()).get("buckets", {})
        for state in buckets.values():
            len(state.get("boundaries", ())) + state.get("num_buckets", 0)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RequestError(
            f"'{preprocessing}' is no preprocessing.json ({error}): put back the file of this build"
        ) from None
    return buckets


def _source(weights: Path, features: Path) -> Source:
    named = (features / name for name in (VOCABULARIES, "preprocessing.json"))
    return Source(weights, *(file if file.is_file() else None for file in named))
