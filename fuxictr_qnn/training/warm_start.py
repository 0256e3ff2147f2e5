"""First weights from an earlier run: rows of embeddings by token, all other weights by name and shape."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.pytorch.layers.embeddings.feature_embedding import FeatureEmbeddingDict
from torch import Tensor, nn

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.training.renamed_weights import renamed
from fuxictr_qnn.training.starting_point import VOCABULARIES, Source, StartingPoint, buckets_of, read_source
from fuxictr_qnn.training.tensor_file import check_by_name, read_plain
from fuxictr_qnn.training.token_rows import RowMap, by_bucket, by_id, by_token, read_tokens

logger = logging.getLogger("fuxictr_qnn")

_WRAPPED = ("state_dict", "model_state_dict", "model")  # what checkpoints of other programs call the weights
_SAID = 20  # sentences in the log


@dataclass(frozen=True)
class Table:
    """A tensor with a row for each id of a feature, or of several that share it."""

    name: str
    feature: str
    frozen: bool
    shared: bool


@dataclass
class Report:
    """What was carried over, for the log and metrics.json.

    Attributes:
        features: feature -> tokens and rows (of all its tables) carried, new and gone.
        weights: how many other tensors were carried.
        left: a sentence for each thing that was not.
        renamed: name in a file from elsewhere -> name here.
    """

    start: StartingPoint
    features: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    weights: int = 0
    left: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    def add_rows(self, feature: str, rows: RowMap, new: int, old: int) -> None:
        entry = self.features.setdefault(feature, {})
        if rows.tokens is not None:
            entry["tokens"] = rows.tokens
        before = entry.get("rows", {})
        carried = len(rows.new)
        counts = {"carried": carried, "new": new - carried, "gone": old - carried}
        entry["rows"] = {key: before.get(key, 0) + value for key, value in counts.items()}

    def total(self, what: str) -> dict[str, int]:
        entries = [entry[what] for entry in self.features.values() if what in entry]
        return {key: sum(entry[key] for entry in entries) for key in ("carried", "new", "gone")}

    def record(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "from": self.start.weights,
            "fingerprint": self.start.fingerprint,
            "tokens": self.total("tokens"),
            "rows": self.total("rows"),
            "features": self.features,
            "weights_carried": self.weights,
            "left": self.left,
            **({"renamed": self.renamed} if self.renamed else {}),
        }


def warm_start(model: nn.Module, start: StartingPoint, build: Path) -> dict[str, Any]:
    """Set the model's weights from a starting point; what that does not know keeps its initialisation.

    A table's row is carried to the row of the same token (padding and unknown values are two), a bucket's to
    the same bucket, and that of an id without vocabulary to the same id. A frozen pretrained table is read
    from the new data's own file. A weight of another name, width or shape is left, with a sentence.

    Args:
        build: the folder with the new data's feature_vocab.json and preprocessing.json.

    Returns:
        What metrics.json keeps as `warm_start`.

    Raises:
        RequestError: weights that cannot be read, belong to other vocabularies, are not finite or of which
            nothing fits; vocabularies that are missing on one side.
    """
    source = read_source(start)
    own = model.state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    read = read_weights(source.weights)
    weights = renamed(read, wanted, start.rename, guess=Path(start.weights).is_file())
    report = Report(start, renamed=_new_names(read, weights))
    tables = {table.name: table for table in tables_of(model)}
    maps = _row_maps(source, build, [table.feature for table in tables.values()])
    shared = _other_names_of_tables(model, tables)
    with torch.no_grad():
        for name, target in own.items():
            if name in shared or (name in tables and tables[name].frozen):
                continue  # the new data brings the file of a frozen table
            if name in tables and name in weights:
                _carry_rows(target, weights[name], tables[name], maps, source, report)
            else:
                _carry_whole(name, target, weights, report)
    unused = sorted(weights.keys() - own.keys())
    if unused:
        report.left.append(f"unused, as this model has no such weight: {', '.join(unused)}")
    if not report.weights and not report.total("rows")["carried"]:
        raise RequestError(
            f"init_from: nothing of '{start.weights}' fits this model: it holds "
            f"{', '.join(list(weights)[:3])} ..., the model {', '.join(list(own)[:3])} ...; name the same "
            "model, or give begins of names by rename: {OLD: NEW}"
        )
    return report.record()


def _new_names(read: dict[str, Tensor], weights: dict[str, Tensor]) -> dict[str, str]:
    names = {id(tensor): name for name, tensor in weights.items()}
    return {name: names[id(tensor)] for name, tensor in read.items() if names.get(id(tensor), name) != name}


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name, of model.pt or a file of FuxiCTR's (.model). Pickled code is refused, never run.

    Raises:
        RequestError: naming the file.
    """
    remedy = "init_from starts from a state_dict, saved by torch.save"
    content = read_plain(file, remedy)
    if isinstance(content, dict):
        content = next((content[key] for key in _WRAPPED if isinstance(content.get(key), dict)), content)
    content = check_by_name(content, file, remedy)
    bad = [
        name for name, value in content.items() if value.is_floating_point() and not value.isfinite().all()
    ]
    if bad:
        raise RequestError(f"init_from: '{file}': {', '.join(bad[:3])} holds NaN or infinite numbers")
    return dict(content)


def tables_of(model: nn.Module) -> Iterator[Table]:
    """Every table of embeddings once, under the first feature that uses it."""
    uses: dict[nn.Module, list[tuple[str, str]]] = {}  # of a table: its names, and the features
    for prefix, embeddings in model.named_modules():
        if not isinstance(embeddings, FeatureEmbeddingDict):
            continue
        for feature, layer in embeddings.embedding_layers.items():
            for inner, module in layer.named_modules():
                if isinstance(module, nn.Embedding):
                    name = ".".join(filter(None, (prefix, "embedding_layers", feature, inner, "weight")))
                    uses.setdefault(module, []).append((name, feature))
    for module, names in uses.items():
        yield Table(*names[0], not module.weight.requires_grad, shared=len(names) > 1)


def _other_names_of_tables(model: nn.Module, tables: dict[str, Table]) -> set[str]:
    """Names under which shared tables stand again in a state dict."""
    first: dict[int, str] = {}
    again = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in tables:
            first[id(parameter)] = name
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.get(id(parameter), name) != name:
            again.add(name)
    return again


@dataclass(frozen=True)
class _RowMaps:
    """Finds the map of a feature; vocabularies of each are joined once."""

    known: dict[str, RowMap]
    encoded: bool

    def of(self, feature: str, new: int, old: int) -> RowMap:
        if feature in self.known:
            return self.known[feature]
        if self.encoded:
            return by_id(new, old)
        nothing = np.arange(0)
        return RowMap(nothing, nothing, remark="it had no vocabulary there")


def _row_maps(source: Source, build: Path, features: list[str]) -> _RowMaps:
    vocabularies = build / VOCABULARIES
    here = read_tokens(vocabularies) if vocabularies.is_file() else {}
    there = read_tokens(source.vocabularies) if source.vocabularies else {}
    new_buckets = buckets_of(_if_there(build / "preprocessing.json"))
    old_buckets = buckets_of(source.preprocessing)
    features = list(dict.fromkeys(features))
    by_tokens = [feature for feature in features if feature in here]
    if by_tokens and source.vocabularies is None:
        raise RequestError(
            f"init_from: the rows of '{source.weights}' cannot be told apart without the vocabularies of its "
            f"data: put that build's {VOCABULARIES} beside it"
        )
    if not here and there and any(feature in there for feature in features):
        raise RequestError(
            f"init_from: '{source.weights}' has rows for tokens, but the data here is encoded and brings no "
            f"{VOCABULARIES}: put it beside the data"
        )
    known = {feature: by_token(here[feature], there[feature]) for feature in by_tokens if feature in there}
    known |= {
        name: by_bucket(new_buckets[name], old_buckets.get(name)) for name in features if name in new_buckets
    }
    return _RowMaps(known, encoded=not here and not there)


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None


def _carry_rows(
    target: Tensor, tensor: Tensor, table: Table, maps: _RowMaps, source: Source, report: Report
) -> None:
    if tensor.ndim != 2 or tensor.shape[1] != target.shape[1]:
        report.left.append(
            f"{table.name}: its rows start anew, {target.shape[1]} wide instead of {tuple(tensor.shape)[1:]}"
        )
        return
    rows = maps.of(table.feature, len(target), len(tensor))
    known = len(tensor) if rows.size is None else rows.size
    if known > len(tensor) or (known < len(tensor) and not table.shared):
        raise RequestError(
            f"init_from: {table.name} of '{source.weights}' has {len(tensor):,} rows, but by the ids of "
            f"'{table.feature}' it has {known:,}: {_ids_of(source, rows)} belongs to other weights; put that "
            "of these weights beside them"
        )
    if max(rows.new, default=-1) >= len(target):
        raise RequestError(
            f"init_from: '{table.feature}' has {len(target):,} rows here, fewer than the data's vocabulary "
            f"has ids: put back its {VOCABULARIES}"
        )
    if rows.remark:
        report.left.append(f"{table.feature}: {rows.remark}")
    places = torch.from_numpy(rows.new).to(target.device)
    target[places] = tensor[torch.from_numpy(rows.old)].to(target)
    report.add_rows(table.feature, rows, len(target), len(tensor))


def _ids_of(source: Source, rows: RowMap) -> Path | None:
    """The file that a map of rows was found by."""
    return source.preprocessing if rows.tokens is None else source.vocabularies


def _carry_whole(name: str, target: Tensor, weights: dict[str, Tensor], report: Report) -> None:
    if name not in weights:
        report.left.append(f"{name} starts anew: there is none to start from")
    elif weights[name].shape != target.shape:
        report.left.append(
            f"{name} starts anew: it is {tuple(target.shape)} here and was {tuple(weights[name].shape)}"
        )
    else:
        target.copy_(weights[name])
        report.weights += 1


def say(record: dict[str, Any]) -> None:
    """Log what was carried over, as `warm_start` returned it."""
    logger.info(
        "started from %s: tokens %s; rows of embeddings %s; other weights %d carried",
        record["from"],
        _counts(record["tokens"]),
        _counts(record["rows"]),
        record["weights_carried"],
    )
    for feature, entry in record["features"].items():
        logger.info("  %s: %s", feature, "; ".join(f"{what} {_counts(entry[what])}" for what in entry))
    for old, new in record.get("renamed", {}).items():
        logger.info("  %s is %s here", old, new)
    for sentence in record["left"][:_SAID]:
        logger.warning("init_from: %s", sentence)
    if len(record["left"]) > _SAID:
        logger.warning("init_from: %d more, see warm_start in metrics.json", len(record["left"]) - _SAID)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {key}" for key, count in counts.items())
