"""Whether a dataset config makes sense, before any cell is read."""

from __future__ import annotations

import polars as pl

from fuxictr_qnn.data.spec import ITEM_HISTORY, ITEM_KEY, ColumnSpec, DatasetSpec
from fuxictr_qnn.errors import RequestError, nearest, shown


def check_config(spec: DatasetSpec) -> None:
    """RequestError with every problem of the config."""
    if problems := config_problems(spec):
        raise RequestError(f"{spec.source or spec.dataset_id}: {problem}" for problem in problems)


def config_problems(spec: DatasetSpec) -> list[str]:
    """What FuxiCTR 2.3.10 cannot do either, and references that lead nowhere.

    Where a feature map describes the columns, only the keys that it does not know are looked at.
    """
    if (not spec.feature_cols or spec.data_format == "h5") and not spec.item_info:
        return split_problems(spec)
    names = [column.name for column in spec.feature_cols]
    problems = [
        f"column '{name}' is declared twice" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if not spec.label_col:
        problems.append("label_col is not set")
    seen: dict[str, ColumnSpec] = {}
    for column in spec.active_columns:
        problems += [f"column '{column.name}': {problem}" for problem in _column_problems(column, seen)]
        seen[column.name] = column
    problems += _item_problems(spec) + split_problems(spec) + _weight_problems(spec) + _user_problems(spec)
    if len(spec.separator.encode()) != 1:
        problems.append(
            f"separator {shown(spec.separator)}: CSV is split at a single character; convert the file"
        )
    return problems


def split_problems(spec: DatasetSpec) -> list[str]:
    """Keys that divide train_data or weight its rows, and contradict each other or the kind of data."""
    both = [split for split in spec.divided if split in spec.split_paths]
    problems = [f"{split}_data and {split}_size are both set: remove one of them" for split in both]
    sizes = spec.divided
    if spec.is_encoded and spec.weight_col:
        problems.append(
            "weight_col: this data is encoded already, and only a build of raw data keeps weights"
        )
    if not sizes:
        if spec.split_type != "sequential":
            problems.append(f"split_type {spec.split_type} divides nothing: set valid_size or test_size")
        return problems
    named = " and ".join(f"{split}_size" for split in sizes)
    if spec.is_encoded:
        problems.append(f"{named}: this data is encoded already, and only raw train_data can be divided")
    if all(size < 1 for size in sizes.values()) and sum(sizes.values()) >= 1:
        problems.append(f"{named} add up to {sum(sizes.values()):g}: nothing is left to train on")
    if spec.split_type == "temporal" and not spec.time_col:
        problems.append("split_type temporal needs time_col, the column that says when")
    if spec.split_type == "per_user" and not spec.split_column:
        problems.append("split_type per_user needs split_by (or group_id), the column that names the user")
    return problems


def _weight_problems(spec: DatasetSpec) -> list[str]:
    """The weight is a column of its own."""
    taken = {column.name: "a feature" for column in spec.active_columns}
    taken |= {label.name: "the label" for label in spec.label_col}
    if spec.weight_col not in taken:
        return []
    return [
        f"weight_col '{spec.weight_col}' is {taken[spec.weight_col]}, too: "
        "give it a column of its own, with another name"
    ]


def _user_problems(spec: DatasetSpec) -> list[str]:
    """Each user is one value of a feature, by which it is known which rows have none."""
    if spec.user_col is None:
        return []
    ids = [column.name for column in spec.active_columns if _tells_values_apart(column)]
    if spec.user_col in ids:
        return []
    return [
        f"user_col '{spec.user_col}' is no active column of type categorical without buckets, or meta with "
        f"remap: false.{nearest(spec.user_col, ids)}"
    ]


def _tells_values_apart(column: ColumnSpec) -> bool:
    if column.type == "meta":
        return not column.remap
    return column.type == "categorical" and column.category_processor is None


def _item_problems(spec: DatasetSpec) -> list[str]:
    """What a dataset with an item table must say, and what only such a dataset may say."""
    if not spec.item_info:
        problems = [
            f"column '{column.name}': max_len of type meta makes a history of items: set item_info, too"
            for column in spec.active_columns
            if column.type == "meta" and column.max_len
        ]
        needs = "item_features adds to item_info: set item_info, too"
        return problems + ([needs] if spec.item_features else [])
    problems = []
    if spec.rebuild_dataset:
        problems.append("item_info goes with data that is encoded already: set rebuild_dataset: false")
    if spec.data_format != "parquet":
        problems.append(f"item_info goes with data_format: parquet, not {spec.data_format}")
    columns = {column.name: column for column in spec.active_columns}
    key, history = columns.get(ITEM_KEY), columns.get(ITEM_HISTORY)
    if key is None or (key.type, key.source) != ("categorical", "item"):
        hint = "" if key else nearest(ITEM_KEY, columns)
        problems.append(f"item_info needs the column '{ITEM_KEY}', type categorical, source: item.{hint}")
    if history is None or history.type != "meta" or not history.max_len:
        hint = "" if history else nearest(ITEM_HISTORY, columns)
        problems.append(f"item_info needs the column '{ITEM_HISTORY}', type meta, with max_len.{hint}")
    problems += [
        f"column '{column.name}': type meta of source item has no use; remove the source"
        for column in spec.item_columns
        if column.type == "meta"
    ]
    return problems


def _column_problems(column: ColumnSpec, before: dict[str, ColumnSpec]) -> list[str]:
    problems = []
    if column.category_processor is not None:
        problems += _bucket_problems(column)
    if column.type == "embedding" and column.vector_width is None:
        problems.append("type embedding needs pretrain_dim, the length of its lists")
    if column.has_vocabulary and not column.remap:
        problems.append("remap: false works for type meta only; remove it")
    if column.count_whole_cells and column.type != "sequence":
        problems.append("count_whole_cells works for type sequence only; remove it")
    if column.pretrained_emb and not column.has_vocabulary:
        problems.append(f"pretrained_emb needs type categorical or sequence, not {column.type}")
    if column.share_embedding is not None:
        problems += _share_problems(column, before)
    return problems


def _bucket_problems(column: ColumnSpec) -> list[str]:
    """What goes with hash_bucket and quantile_bucket."""
    processor = column.category_processor
    types = ("categorical", "sequence") if processor == "hash_bucket" else ("categorical",)
    problems = []
    if column.type not in types:
        problems.append(f"category_processor {processor} needs type {' or '.join(types)}, not {column.type}")
    if column.num_buckets is None:
        problems.append(f"category_processor {processor} needs num_buckets")
    problems += [
        f"{key} has no use with category_processor {processor}: remove it"
        for key in ("min_categr_count", "pretrained_emb")
        if getattr(column, key) is not None
    ]
    if column.share_embedding and processor == "quantile_bucket":
        problems.append("a quantile bucket's embedding cannot be shared: remove share_embedding")
    return problems


def _share_problems(column: ColumnSpec, before: dict[str, ColumnSpec]) -> list[str]:
    target = before.get(column.share_embedding or "")
    if target is None or not target.has_vocabulary:
        known = [name for name, other in before.items() if other.has_vocabulary]
        hint = nearest(column.share_embedding or "", known)
        return [f"share_embedding '{column.share_embedding}' is no id column before this one.{hint}"]
    if target.share_embedding:
        return [f"share_embedding '{target.name}' shares itself: name '{target.share_embedding}' instead"]
    if (column.category_processor, column.num_buckets) != (target.category_processor, target.num_buckets):
        return [
            f"share_embedding '{target.name}' has other buckets: give both columns the same "
            "category_processor and num_buckets, or neither"
        ]
    if column.pretrained_emb:
        return [f"pretrained_emb belongs to the column whose embedding is shared, '{target.name}'"]
    return []


def check_types(spec: DatasetSpec, outputs: pl.Schema, raw: pl.Schema) -> None:
    """Whether each column, after preprocessing, has values of its type, and weights are numbers.

    Raises:
        RequestError: every column that has not.
    """
    problems = []
    if spec.weight_col and spec.weight_col not in raw:
        problems.append(f"train_data has no weight_col '{spec.weight_col}'.{nearest(spec.weight_col, raw)}")
    elif spec.weight_col and not raw[spec.weight_col].is_numeric():
        problems.append(f"weight_col '{spec.weight_col}' needs numbers, but holds {raw[spec.weight_col]}")
    for column in spec.active_columns:
        dtype = outputs[column.name]
        fits, wanted = _fit(column, dtype)
        if not fits:
            problems.append(f"column '{column.name}' of type {column.type} needs {wanted}, but holds {dtype}")
    for label in spec.label_col:
        dtype = outputs[label.name]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            problems.append(f"label '{label.name}' needs numbers, but holds {dtype}: declare dtype: float")
    for column in spec.active_columns:
        if column.share_embedding and not problems:
            problems += _same_kind(column, outputs)
    if problems:
        raise RequestError(f"{spec.source or spec.dataset_id}: {problem}" for problem in problems)


def _fit(column: ColumnSpec, dtype: pl.DataType) -> tuple[bool, str]:
    if column.category_processor == "quantile_bucket":
        return dtype.is_numeric(), "numbers for quantile_bucket (dtype: float or int)"
    if column.category_processor == "hash_bucket" and column.type == "categorical":
        return dtype == pl.String or dtype.is_integer(), "text or whole numbers for hash_bucket"
    if column.type == "numeric":
        return dtype.is_numeric(), "numbers (dtype: float)"
    if column.type == "meta" and not column.remap:
        return dtype.is_numeric() or dtype == pl.Boolean, "whole numbers, or its remap: false removed"
    if column.type == "embedding":
        return isinstance(
            dtype, (pl.List, pl.Array)
        ) and dtype.inner.is_numeric(), "lists of numbers (parquet)"
    if column.type == "sequence":
        return dtype == pl.String, "text (dtype: str) or, in parquet, lists"
    return (
        dtype == pl.String or dtype.is_integer() or dtype.is_float() or dtype == pl.Boolean,
        "text or numbers",
    )


def _same_kind(column: ColumnSpec, outputs: pl.Schema) -> list[str]:
    mine, theirs = outputs[column.name], outputs[column.share_embedding]
    if column.category_processor or (mine == pl.String) == (theirs == pl.String):
        return []
    return [
        f"column '{column.name}' ({mine}) cannot share the embedding of '{column.share_embedding}' "
        f"({theirs}): text and numbers never match; declare both dtype: str"
    ]
