"""A dataset config as one validated object (FuxiCTR's dataset_config format)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fuxictr_qnn.data.origin import Expected, Origin

ITEM_KEY = "item_id"  # the column that names a row's item; the item table is joined by it
ITEM_HISTORY = "item_seq"  # the column that lists the items of a row's history


class ColumnSpec(BaseModel):
    """One column of the raw data: an entry of `feature_cols`, one name each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    active: bool = True
    dtype: Literal["str", "int", "float"] = "str"
    type: Literal["categorical", "numeric", "sequence", "embedding", "meta"] = "categorical"
    source: str = ""
    fill_na: str | int | float | None = None  # None: "" for str, 0 for int and float
    preprocess: str | None = None
    min_categr_count: int | None = Field(None, ge=1)
    category_processor: str | None = None
    num_buckets: int | None = Field(None, ge=1)
    splitter: str = Field("^", min_length=1)
    max_len: int = Field(0, ge=0)  # 0: the longest of the training data; of a history: its last ones
    padding: Literal["pre", "post"] = "post"
    remap: bool = True
    normalizer: Literal["StandardScaler", "MinMaxScaler"] | None = None
    vocab_size: int | None = Field(None, ge=1)  # for data that is already encoded
    share_embedding: str | None = None
    embedding_dim: int | None = Field(None, ge=1)
    emb_output_dim: int | None = Field(None, ge=1)
    # "default": FuxiCTR's own (average pooling for sequences, none for the rest); None: no encoder
    feature_encoder: str | list[str] | None = "default"
    pretrained_emb: str | None = None
    pretrain_dim: int | None = Field(None, ge=1)
    pretrain_usage: Literal["init", "sum", "concat"] = "init"
    freeze_emb: bool = True

    @property
    def has_vocabulary(self) -> bool:
        """Whether FuxiCTR keeps a vocabulary of this column in feature_vocab.json."""
        return self.type in ("categorical", "sequence")

    @property
    def vector_width(self) -> int | None:
        """Numbers in each list of a `type: embedding` column.

        As in FuxiCTR, embedding_dim (the width that the model sees) stands in for a missing pretrain_dim.
        """
        return self.pretrain_dim or self.embedding_dim


class LabelSpec(BaseModel):
    """The label column."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: Literal["str", "int", "float"] = "float"


class DatasetSpec(BaseModel):
    """Where a dataset lies and how its columns become ids."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_id: str
    source: str = ""  # the YAML file it was read from, for messages
    data_format: Literal["csv", "parquet", "npz"] = "csv"
    data_root: str | None = None  # for already encoded data, FuxiCTR's meaning
    generator: Literal["demo", "planted_interest"] | None = None  # simulated on first use
    train_data: str | None = None
    valid_data: str | None = None
    test_data: str | None = None
    item_info: str | None = None  # parquet: the features of items (source: item), a row for each item_id
    item_features: str | None = None  # parquet: more columns for item_info, joined by item_id
    separator: str = ","
    rebuild_dataset: bool = True
    min_categr_count: int = Field(1, ge=1)
    feature_processor: str | None = None  # package.module:Class with preprocess functions
    feature_cols: list[ColumnSpec] = []
    label_col: list[LabelSpec] = []
    group_id: str | None = None
    origin: Origin | None = None
    expected: Expected | None = None

    @property
    def active_columns(self) -> list[ColumnSpec]:
        return [column for column in self.feature_cols if column.active]

    @property
    def item_columns(self) -> list[ColumnSpec]:
        """The features that belong to items: where there is an item table, it holds them."""
        return [column for column in self.active_columns if column.source == "item"]

    @property
    def split_paths(self) -> dict[str, str]:
        """The configured path of each split that is given: train, valid, test."""
        paths = {"train": self.train_data, "valid": self.valid_data, "test": self.test_data}
        return {split: path for split, path in paths.items() if path}
