"""The kinds of keys: of the fit loop, of the dataset, of the model, and the old ones."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from fuxictr_qnn.config.merging import Setting, Settings
from fuxictr_qnn.data.spec import ITEM_HISTORY, DatasetSpec
from fuxictr_qnn.training.experiment import FeatureUse
from fuxictr_qnn.training.settings import FitSettings

FIT_KEYS = frozenset(FitSettings.model_fields)
DATASET_KEYS = frozenset(DatasetSpec.model_fields) - {"source"}
FEATURE_KEYS = frozenset(FeatureUse.model_fields)
OTHER_KEYS = frozenset({"model", "seed", "init_from"})

# Old names of FuxiCTR 1.x and of the authors' configs that mean the same.
RENAMED = {
    "patience": "early_stop_patience",
    "factor": "reduce_lr_factor",
    "lr": "learning_rate",
    "accumulation_steps": "accumulate_steps",
    "sep": "separator",
    "cin_layer_units": "cin_hidden_units",
}
RENAMED_IN_COLUMNS = {"na_value": "fill_na", "encoder": "feature_encoder"}

# Keys that have no effect here, and why.
IGNORED = {
    "pickle_feature_encoder": "a build writes JSON, never a pickle",
    "use_hdf5": "a build writes parquet",
    "debug_mode": "FuxiCTR's autotuner reads it",
    "debug": "use --debug",
    "every_x_epochs": "set eval_steps for evaluations within an epoch",
    "num_workers": "batches are slices of memory",
    "verbose": "progress is always shown",
    "save_best_only": "only the best weights are kept",
    "model_root": "runs go to --out",
    "model_id": "a run is named by its expid",
    "gpu": "use --gpu",
    "version": "models are PyTorch models",
    "workers": "use --workers",
    "data_block_size": "a build streams what does not fit",
    "partition_block_size": "a build streams what does not fit",
}
IGNORED_IN_COLUMNS = {"quote_char": "CSV is read with standard quotes"}
# Off (null, false, 0) is what published configs say; nobody needs to be told.
SILENT_IF_OFF = frozenset({"debug_mode", "debug", "pickle_feature_encoder", "use_hdf5"})
# Options that nothing here has: off they mean nothing, on they are refused, with what there is instead.
ONLY_OFF = {
    "feature_config": "feature_specs changes features for an experiment",
    "embedding_dropout": "net_dropout drops within the network",
    "embedding_hooks": "pretrained_emb and feature_encoder of a column change its embedding",
}


def translate(settings: Settings, of_model: Container[str] = ()) -> tuple[Settings, list[str]]:
    """Settings under today's names, and at most one note about the old ones.

    A new name that is set as well wins over the old one, unless only the old one came by --set. A key
    in `of_model`, which the model's own constructor names, is the model's and stays as it is.
    """
    kept: Settings = {}
    said: list[str] = []
    for key, setting in settings.items():
        if key in of_model and (key in RENAMED or key in ONLY_OFF):
            kept[key] = setting
        elif key in RENAMED:
            said.append(f"{key} -> {RENAMED[key]}")
            new = settings.get(RENAMED[key])
            if new is None or (setting.from_set and not new.from_set):
                kept[RENAMED[key]] = setting
        elif key in IGNORED:
            if setting.value or key not in SILENT_IF_OFF:
                said.append(f"{key} has no effect ({IGNORED[key]})")
        elif key in ONLY_OFF and not setting.value:
            continue
        elif key == "feature_cols":
            kept[key] = _translate_columns(setting, said)
        else:
            kept.setdefault(key, setting)
    if "max_len" in kept and "max_len" not in of_model and "item_info" in kept and "feature_cols" in kept:
        said.append(f"max_len -> max_len of column {ITEM_HISTORY}")
        kept["feature_cols"] = _with_history_length(kept["feature_cols"], kept.pop("max_len"))
    return kept, [f"old config keys: {'; '.join(dict.fromkeys(said))}"] if said else []


def _with_history_length(columns: Setting, max_len: Setting) -> Setting:
    """MMCTR's configs give the length of the history as a key of the experiment.

    The column's own max_len is stronger, unless the other one came by --set.
    """
    if not isinstance(columns.value, list):
        return columns
    given = {"max_len": max_len.value}
    weak, strong = ({}, given) if max_len.from_set else (given, {})
    changed: list[Any] = []
    for column in columns.value:
        names = column.get("name") if isinstance(column, dict) else None
        names = names if isinstance(names, list) else [names]
        if ITEM_HISTORY not in names:
            changed.append(column)
            continue
        changed += [
            weak | column | {"name": name} | strong if name == ITEM_HISTORY else column | {"name": name}
            for name in names
        ]
    return Setting(changed, columns.origin)


def _translate_columns(setting: Setting, said: list[str]) -> Setting:
    if not isinstance(setting.value, list):
        return setting
    return Setting([_translate_column(column, said) for column in setting.value], setting.origin)


def _translate_column(column: Any, said: list[str]) -> Any:
    if not isinstance(column, dict):
        return column
    translated = {}
    for key, value in column.items():
        if key in RENAMED_IN_COLUMNS:
            said.append(f"{key} -> {RENAMED_IN_COLUMNS[key]} in feature_cols")
            translated.setdefault(RENAMED_IN_COLUMNS[key], value)
        elif key in IGNORED_IN_COLUMNS:
            said.append(f"{key} has no effect in feature_cols ({IGNORED_IN_COLUMNS[key]})")
        else:
            translated[key] = value
    return translated
