"""Rules that a type alone does not say: lists of names, grammars, and keys that belong together."""

from __future__ import annotations

from typing import Any

from fuxictr_qnn import grammar
from fuxictr_qnn.config.merging import Setting, Settings
from fuxictr_qnn.config.problems import shown
from fuxictr_qnn.data.spec import DatasetSpec
from fuxictr_qnn.errors import nearest
from fuxictr_qnn.training.settings import FitSettings

LOSSES = ("binary_crossentropy", "binary_cross_entropy", "bce", "mse_loss", "l1_loss", "huber_loss")


def apply_rule(rule: Any, place: str, value: Any, problems: list[str]) -> Any:
    """`rule(value)`; where the rule refuses it, the value itself and one more problem."""
    try:
        return rule(value)
    except ValueError as error:
        problems.append(f"{place} = {shown(value)}: {error}")
        return value


def check_columns(dataset: Settings, problems: list[str]) -> None:
    """Bring feature_cols and label_col to one entry a column, in place. FuxiCTR allows `name: [a, b]`."""
    if "feature_cols" in dataset:
        dataset["feature_cols"] = _one_entry_a_column(dataset["feature_cols"], problems)
    label = dataset.get("label_col")
    if label and isinstance(label.value, dict):
        dataset["label_col"] = Setting([label.value], label.origin)
    for key in ("feature_cols", "label_col"):
        if key in dataset and dataset[key].value is None:
            dataset[key] = Setting([], dataset[key].origin)


def _one_entry_a_column(setting: Setting, problems: list[str]) -> Setting:
    if not isinstance(setting.value, list):
        return setting
    columns: list[Any] = []
    for column in setting.value:
        if isinstance(column, dict) and isinstance(column.get("name"), list):
            columns += [column | {"name": name} for name in column["name"]]
        else:
            columns.append(column)
    names = [column["name"] for column in columns if isinstance(column, dict) and "name" in column]
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        problems.append(f"{setting.origin}: feature_cols names {', '.join(repeated)} more than once")
    return Setting(
        [_evaluated_strings(column, setting.origin, problems) for column in columns], setting.origin
    )


def _evaluated_strings(column: Any, origin: str, problems: list[str]) -> Any:
    """A column entry whose strings that FuxiCTR evaluates are in the fixed grammar."""
    if not isinstance(column, dict):
        return column
    rules = {key: grammar.rule_for(str(key)) for key in column}
    place = f"{origin}: {column.get('name')}"
    return column | {
        key: apply_rule(rule, f"{place}.{key}", column[key], problems) for key, rule in rules.items() if rule
    }


def check_feature_use(features: Settings, problems: list[str]) -> None:
    """feature_specs as [{name: ..., key: value}], in the fixed grammar, in place."""
    specs = features.get("feature_specs")
    if specs and isinstance(specs.value, list):
        for item in specs.value:
            if not isinstance(item, dict) or "name" not in item:
                problems.append(
                    f"{specs.origin}: feature_specs: {shown(item)}: expected `name: ...` and keys"
                )
        checked = [_evaluated_strings(item, specs.origin, problems) for item in specs.value]
        features["feature_specs"] = Setting(checked, specs.origin)


def check_fit(fit: Settings, dataset: DatasetSpec | None, problems: list[str]) -> None:
    """Metric names, what is monitored, loss and optimizer; one label, and a group_id for group metrics.

    Metric names are written out in place.
    """
    metrics = _metrics(fit, problems)
    _check_monitor(fit, metrics, problems)
    if dataset is not None and len(dataset.label_col) > 1:
        named = ", ".join(label.name for label in dataset.label_col)
        problems.append(f"{dataset.source}: label_col names {named}: models here learn one label, choose one")
    grouped = [name for name in metrics if grammar.needs_groups(name)]
    if grouped and dataset is not None and dataset.group_id is None:
        problems.append(
            f"{dataset.source}: {', '.join(grouped)} need group_id, the column that names the groups"
        )
    _check_optimizer(fit, problems)
    _check_loss(fit, problems)


def _check_loss(fit: Settings, problems: list[str]) -> None:
    """One of LOSSES; FuxiCTR would evaluate any other text."""
    loss = fit.get("loss")
    if loss and isinstance(loss.value, str) and loss.value not in LOSSES:
        known = ", ".join(LOSSES)
        problems.append(
            f"{loss.origin}: loss = {shown(loss.value)}: expected {known}.{nearest(loss.value, LOSSES)}"
        )


def _check_optimizer(fit: Settings, problems: list[str]) -> None:
    """One of torch.optim by name; FuxiCTR also writes adam for Adam."""
    optimizer = fit.get("optimizer")
    if not optimizer or not isinstance(optimizer.value, str) or optimizer.value.lower() == "adam":
        return
    from torch import optim

    known = [name for name, value in vars(optim).items() if isinstance(value, type) and name != "Optimizer"]
    if optimizer.value not in known:
        problems.append(
            f"{optimizer.origin}: optimizer = {shown(optimizer.value)}: expected a class of torch.optim."
            f"{nearest(optimizer.value, known)}"
        )


def _check_monitor(fit: Settings, metrics: list[str], problems: list[str]) -> None:
    """The monitored names, written as the metrics are (NDCG(5) -> NDCG(k=5)), are among them."""
    monitor = fit.get("monitor", Setting(FitSettings.model_fields["monitor"].default, "default"))
    if not isinstance(monitor.value, (str, dict)):
        return  # the wrong type is reported with the other types
    weights = monitor.value if isinstance(monitor.value, dict) else {monitor.value: 1.0}
    written = {_written_out(name): weight for name, weight in weights.items()}
    for name in written:
        if name not in metrics:
            problems.append(
                f"{monitor.origin}: monitor = {shown(monitor.value)}: '{name}' is not among the metrics "
                f"{metrics}.{nearest(name, metrics)}"
            )
    if "monitor" in fit:
        value = written if isinstance(monitor.value, dict) else next(iter(written))
        fit["monitor"] = Setting(value, monitor.origin)


def _written_out(name: Any) -> Any:
    try:
        return grammar.metric(name) if isinstance(name, str) else name
    except ValueError:
        return name


def _metrics(fit: Settings, problems: list[str]) -> list[str]:
    """The metric names in their written-out form; `metrics` may also be a single name."""
    setting = fit.get("metrics")
    if setting is None:
        return list(FitSettings.model_fields["metrics"].default)
    names = [setting.value] if isinstance(setting.value, str) else setting.value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    checked = [apply_rule(grammar.metric, f"{setting.origin}: metrics", name, problems) for name in names]
    if not checked:
        problems.append(f"{setting.origin}: metrics: expected at least one name")
    fit["metrics"] = Setting(checked, setting.origin)
    return checked
