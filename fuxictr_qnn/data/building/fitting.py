"""What the training data decides: vocabularies, scalers and lengths of sequences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from fuxictr_qnn.data.building.buckets import Buckets, HashBuckets, QuantileBuckets, restored
from fuxictr_qnn.data.building.encoding import Encoder, Scaler, make_encoder
from fuxictr_qnn.data.building.survey import Survey
from fuxictr_qnn.data.spec import ColumnSpec, DatasetSpec
from fuxictr_qnn.data.vocabulary import Vocabulary, pretrained_keys
from fuxictr_qnn.errors import RequestError


@dataclass(frozen=True)
class Fitted:
    """Everything needed to encode a row.

    Attributes:
        vocabularies: of categorical, sequence and remapped meta columns.
        buckets: of columns with a category_processor.
        scalers: of numeric columns with a normalizer.
        max_len: ids per row of each sequence column.
    """

    columns: list[ColumnSpec]
    vocabularies: dict[str, Vocabulary]
    buckets: dict[str, Buckets]
    scalers: dict[str, Scaler]
    max_len: dict[str, int]

    @property
    def ids(self) -> dict[str, Vocabulary | Buckets]:
        """What gives each column its ids."""
        return {**self.vocabularies, **self.buckets}

    def encoders(self) -> dict[str, Encoder]:
        return {
            column.name: make_encoder(
                column,
                self.ids.get(column.name),
                self.scalers.get(column.name),
                self.max_len.get(column.name, 0),
            )
            for column in self.columns
        }

    def stored_vocabularies(self) -> dict[str, Vocabulary]:
        """Those that FuxiCTR keeps in feature_vocab.json."""
        return {
            column.name: self.vocabularies[column.name]
            for column in self.columns
            if column.has_vocabulary and column.name in self.vocabularies
        }

    def state(self) -> dict[str, Any]:
        """The rest, for preprocessing.json."""
        scalers = {name: asdict(scaler) for name, scaler in self.scalers.items()}
        buckets = {name: each.state() for name, each in self.buckets.items()}
        return {"normalizers": scalers, "max_len": self.max_len, **({"buckets": buckets} if buckets else {})}

    @classmethod
    def of_state(
        cls, columns: list[ColumnSpec], vocabularies: dict[str, Vocabulary], state: dict[str, Any]
    ) -> Fitted:
        """From `stored_vocabularies` and `state`; without meta columns, whose vocabulary no build keeps."""
        buckets = {name: restored(each) for name, each in state.get("buckets", {}).items()}
        scalers = {name: Scaler(**scaler) for name, scaler in state["normalizers"].items()}
        return cls(columns, vocabularies, buckets, scalers, state["max_len"])


def fit(spec: DatasetSpec, found: Survey, pretrained: dict[str, Path]) -> Fitted:
    """Make vocabularies and scalers from what the survey counted.

    Args:
        pretrained: file of each column with pretrained_emb; its keys enter the vocabulary.

    Raises:
        RequestError: every vocabulary that is empty, every pretrained file without usable keys.
    """
    columns = spec.active_columns
    problems: list[str] = []
    buckets = _buckets(spec, found, problems)
    vocabularies = _vocabularies(spec, found, problems)
    for column in columns:
        if column.name in pretrained:
            _expand(vocabularies[column.name], column, pretrained[column.name], problems)
    if problems:
        raise RequestError(problems)
    scalers = {
        column.name: Scaler.fit(column.normalizer, found.moments[column.name])
        for column in columns
        if column.normalizer and column.name in found.moments
    }
    max_len = {column.name: column.max_len or longest for column, longest in _sequences(columns, found)}
    return Fitted(columns, vocabularies, buckets, scalers, max_len)


def _sequences(columns: list[ColumnSpec], found: Survey) -> list[tuple[ColumnSpec, int]]:
    return [(column, found.longest[column.name]) for column in columns if column.type == "sequence"]


def _buckets(spec: DatasetSpec, found: Survey, problems: list[str]) -> dict[str, Buckets]:
    buckets: dict[str, Buckets] = {}
    for column in spec.active_columns:
        if column.category_processor == "hash_bucket":
            buckets[column.name] = HashBuckets(column.num_buckets)
        elif column.category_processor == "quantile_bucket":
            counts = found.counts.pop(column.name).table()
            if counts.height:
                buckets[column.name] = QuantileBuckets.fit(counts, column.num_buckets)
            else:
                problems.append(
                    f"column '{column.name}': the training data has no value to make buckets of: "
                    "set active: false"
                )
    return buckets


def _vocabularies(spec: DatasetSpec, found: Survey, problems: list[str]) -> dict[str, Vocabulary]:
    """In FuxiCTR's order: one column after another, merged into the one whose embedding it shares."""
    vocabularies: dict[str, Vocabulary] = {}
    for column in spec.active_columns:
        if column.name not in found.counts:
            continue
        is_meta = column.type == "meta"
        min_count = 1 if is_meta else column.min_categr_count or spec.min_categr_count
        na_value = "" if is_meta or column.fill_na is None else column.fill_na
        counts = found.counts.pop(column.name).table()
        vocabulary = Vocabulary.from_counts(counts, min_count, na_value)
        if not len(vocabulary.tokens):
            problems.append(_empty(column, min_count, counts))
        if column.share_embedding:
            try:
                vocabularies[column.share_embedding].merge(vocabulary)
            except ValueError as error:
                problems.append(
                    f"column '{column.name}' cannot share the embedding of '{column.share_embedding}': "
                    f"{error}, the type of its values: declare the same dtype for both"
                )
            vocabulary = vocabularies[column.share_embedding]
        vocabularies[column.name] = vocabulary
    return vocabularies


def _empty(column: ColumnSpec, min_count: int, counts: pl.DataFrame) -> str:
    largest = counts["count"].max() or 0
    remedy = "lower min_categr_count or set active: false" if largest < min_count else "set active: false"
    return (
        f"column '{column.name}': min_categr_count {min_count} leaves no value in its vocabulary "
        f"(the most frequent value occurs {largest} times): {remedy}"
    )


def _expand(vocabulary: Vocabulary, column: ColumnSpec, file: Path, problems: list[str]) -> None:
    try:
        vocabulary.expand(pretrained_keys(file, column.dtype))
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        problems.append(f"pretrained_emb of column '{column.name}': '{file}' has no usable keys ({error!r})")
