"""A dataset config as one validated object (FuxiCTR's dataset_config format)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

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
    category_processor: Literal["hash_bucket", "quantile_bucket"] | None = None
    num_buckets: int | None = Field(None, ge=1)
    splitter: str = Field("^", min_length=1)
    count_whole_cells: bool = False  # the vocabulary of a sequence holds uncut cells, as in FuxiCTR 2.0.1
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
    data_format: Literal["csv", "parquet", "npz", "h5"] = "csv"
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
    user_col: str | None = None  # whose rows the bootstrap draws together, where there is no group_id
    weight_col: str | None = None  # each training row's weight in the loss
    negative_sampling_rate: float | None = Field(None, gt=0, le=1)  # share of negatives that the data kept
    # train_data is divided where a size is given: raw/splits.py says how
    valid_size: int | float | None = None
    test_size: int | float | None = None
    split_type: Literal["sequential", "random", "temporal", "per_user"] = "sequential"
    time_col: str | None = None
    split_by: str | None = None  # per_user: the column that names the user; default: group_id
    split_seed: int = Field(2024, ge=0, lt=2**32)
    origin: Origin | None = None
    expected: Expected | None = None

    @property
    def is_encoded(self) -> bool:
        """Whether the files hold ids already. h5 always does: it is what FuxiCTR 1.x and 2.0 wrote.

        The columns of h5 files are those of their feature_map.json, whatever feature_cols may say.
        """
        return self.data_format == "h5" or not self.rebuild_dataset or not self.feature_cols

    @field_validator("valid_size", "test_size", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        """A fraction or a row count; 0 and false are FuxiCTR's words for none."""
        if not isinstance(value, (int, float, type(None))) or value is True:
            raise ValueError("a fraction between 0 and 1, or a whole number of rows")
        if not value:
            return None
        if value < 0 or (isinstance(value, float) and not value < 1):
            raise ValueError("a fraction between 0 and 1, or a whole number of rows")
        return value

    @property
    def divided(self) -> dict[str, int | float]:
        """The splits that are cut from train_data, and their sizes."""
        sizes = {"valid": self.valid_size, "test": self.test_size}
        return {split: size for split, size in sizes.items() if size}

    @property
    def split_names(self) -> list[str]:
        """The splits that there are: those with a path and those cut from train_data."""
        return [
            split for split in ("train", "valid", "test") if split in {**self.split_paths, **self.divided}
        ]

    @property
    def split_column(self) -> str | None:
        """The column that names the users of a per_user split."""
        return self.split_by or self.group_id

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
